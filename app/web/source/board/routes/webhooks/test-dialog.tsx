// Sends a test event to a receiver, and shows its response as text.

import { useState } from "react";
import { graphql, useRelayEnvironment } from "react-relay/hooks";

import type {
  testDialogMutation,
  testDialogMutation$data,
} from "../../relay/__generated__/testDialogMutation.graphql";
import { Dialog } from "../../components/dialog";
import { ErrorMessage } from "../../components/error-panel";
import { Fact } from "../../components/fact";
import { Status } from "../../components/status";
import { UserText } from "../../components/user-text";
import { mutate } from "../../relay/mutate";
import { duration } from "../../text/times";
import type { DialogProps } from "./dialog-props";

type ReceiverAnswer = NonNullable<testDialogMutation$data["testWebhook"]>;

const ACCEPTED = { name: "The receiver accepted the test", icon: "check", tone: "good" } as const;
const FAILED = { name: "The test failed", icon: "cross", tone: "bad" } as const;

const mutation = graphql`
  mutation testDialogMutation($input: TestWebhookInput!) {
    testWebhook(input: $input) {
      ok
      statusCode
      durationMs
      headers {
        name
        value
      }
      body
      error
    }
  }
`;

export function TestDialog({ webhook: { webhookId, url }, onClose }: DialogProps) {
  const environment = useRelayEnvironment();
  const [result, setResult] = useState<ReceiverAnswer | Error | null>(null);
  const [isBusy, setBusy] = useState(false);

  async function send(): Promise<void> {
    setBusy(true);
    setResult(null);
    try {
      const response = await mutate<testDialogMutation>(environment, mutation, { input: { webhookId } });
      setResult(response.testWebhook ?? null);
    } catch (error) {
      setResult(error as Error);
    } finally {
      setBusy(false);
    }
  }

  const answer = result instanceof Error ? null : result;
  return (
    <Dialog title="Test this webhook" onClose={onClose}>
      <p>
        A signed event “webhook.test” is sent to <UserText text={url} />, also if the webhook is disabled. It is
        neither stored nor repeated.
      </p>
      <p role="status">
        {isBusy && "Waiting for the response of the receiver…"}
        {answer && <Status words={answer.ok ? ACCEPTED : FAILED} />}
      </p>
      {answer && <Answer answer={answer} />}
      {result instanceof Error && <ErrorMessage error={result} />}
      <div className="buttons">
        <button
          type="button"
          className="primary"
          autoFocus
          aria-disabled={isBusy}
          onClick={() => !isBusy && void send()}
        >
          {result ? "Send it again" : "Send the test"}
        </button>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

interface AnswerProps {
  readonly answer: ReceiverAnswer;
}

function Answer({ answer: { statusCode, durationMs, headers, body, error } }: AnswerProps) {
  return (
    <>
      {error && (
        <p>
          <UserText text={error} />
        </p>
      )}
      <dl className="facts">
        <Fact name="Status">{statusCode ?? "no response"}</Fact>
        <Fact name="Duration">{duration(durationMs)}</Fact>
      </dl>
      {headers.length > 0 && (
        <>
          <h3>Headers of the response</h3>
          <pre tabIndex={0}>
            <UserText text={headers.map(({ name, value }) => `${name}: ${value}`).join("\n")} limit={8_000} />
          </pre>
        </>
      )}
      {body && (
        <>
          <h3>Start of the response, at most 2 KiB</h3>
          <pre tabIndex={0}>
            <UserText text={body} limit={4_000} />
          </pre>
        </>
      )}
    </>
  );
}
