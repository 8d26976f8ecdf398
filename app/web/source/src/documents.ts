// What stands in a document that somebody wrote, as far as it can be read. Asks nobody.

import { getOperationAST, parse, type DocumentNode, type OperationDefinitionNode } from "graphql";

export type Operation = OperationDefinitionNode | null | undefined;

export function parsed(query: string): DocumentNode | undefined {
  try {
    return parse(query);
  } catch {
    return undefined; // which the server says better
  }
}

/** The operation of that name; else the only one there is. */
export function operationOf(document: DocumentNode, name: string | null | undefined): Operation {
  return getOperationAST(document, name) ?? getOperationAST(document);
}

export function hasVariable(operation: Operation, name: string): boolean {
  return !!operation?.variableDefinitions?.some(({ variable }) => variable.name.value === name);
}
