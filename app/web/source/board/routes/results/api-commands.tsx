// The query of the shown results and the commands that send it, to copy.

import { CopyField } from "../../components/copy-field";
import { ROOT_PATH } from "../../config";
import type { ResultsView } from "../../url/results";
import { csvPath, resultsVariables } from "../../url/results-filter";
import { apiCommand, escapedJson } from "../../text/shell";

const QUERY = `query Results($filter: DestinationFilter, $orderBy: DestinationOrder, $after: String) {
  destinations(first: 100, after: $after, filter: $filter, orderBy: $orderBy) {
    nodes {
      postId
      accountId
      accountName
      platform
      status
      outcome
      scheduledFor
      publishedAt
      failedAt
      attempts
      error
      errorCode
      platformPostUrl
      post {
        content
        reference
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}`;
const INDENT = 2;

export default function ApiCommands({ view }: { readonly view: ResultsView }) {
  const server = location.origin + ROOT_PATH;
  const variables = resultsVariables(view);
  const graphql = apiCommand(`${server}/graphql`, { query: QUERY, variables });
  const csv = apiCommand(server + csvPath(view));
  return (
    <>
      <p>
        The commands read an API key from the variable <code>API_KEY</code> of the shell. For the next page, add{" "}
        <code>after</code> with the value of <code>endCursor</code> to the variables.
      </p>
      <CopyField label="GraphQL query" value={QUERY} rows={6} />
      <CopyField label="Variables" value={escapedJson(variables, INDENT)} rows={6} />
      <CopyField label="Command for the query" value={graphql} rows={5} />
      <CopyField label="Command for all results as CSV" value={csv} rows={3} />
      <p className="muted">
        A server with trusted documents accepts the query only if it is one of them.{" "}
        <a href={`${ROOT_PATH}/docs/graphql`}>GraphQL</a>
      </p>
    </>
  );
}
