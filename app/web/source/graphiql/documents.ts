// Reads the operations and variables of a GraphQL document in the editor.

import { getOperationAST, parse, type DocumentNode, type OperationDefinitionNode } from "graphql";

export type Operation = OperationDefinitionNode | null | undefined;

export function parseDocument(query: string): DocumentNode | undefined {
  try {
    return parse(query);
  } catch {
    return undefined; // the server reports the syntax error better
  }
}

/** The operation with this name, or the only operation of the document. */
export function findOperation(document: DocumentNode, name: string | null | undefined): Operation {
  return getOperationAST(document, name) ?? getOperationAST(document);
}

export function hasVariable(operation: Operation, name: string): boolean {
  return !!operation?.variableDefinitions?.some(({ variable }) => variable.name.value === name);
}
