// Actions on a whole post: cancel it, and copy an answer for the customer.

import { useState } from "react";
import { graphql, useFragment } from "react-relay/hooks";

import type {
  postActions_post$data,
  postActions_post$key,
} from "../../relay/__generated__/postActions_post.graphql";
import { ActionButton } from "../../components/action-button";
import { useShortcuts } from "../../keyboard/shortcuts";
import { useViewer, writeDeniedReason } from "../../session/viewer";
import { AnswerDialog } from "./answer-dialog";
import { CancelDialog } from "./cancel-dialog";

type OpenDialog = "answer" | "cancel" | null;

export function PostActions({ post }: { readonly post: postActions_post$key }) {
  const data = useFragment(
    graphql`
      fragment postActions_post on Post {
        id
        postId
        status
        version
        importedAt
        content
        scheduledFor
        destinations {
          status
          attempts
          outcome
          platform
          accountName
          errorCode
          isOverdue
          awaitsOutcome
          nextRetryAt
          scheduledFor
          publishedAt
          platformPostUrl
          retryRefusal
          diagnosis {
            category
            nextAction
          }
        }
      }
    `,
    post,
  );
  const [dialog, setDialog] = useState<OpenDialog>(null);
  const viewer = useViewer();
  const disabledReason = writeDeniedReason(viewer) ?? cancelDisabledReason(data);
  const close = () => setDialog(null);
  useShortcuts(disabledReason === null ? { c: () => setDialog("cancel") } : {});
  return (
    <div className="buttons">
      <button type="button" onClick={() => setDialog("answer")}>
        Answer for the customer
      </button>
      <ActionButton disabledReason={disabledReason} onPress={() => setDialog("cancel")}>
        Cancel post
      </ActionButton>
      {dialog === "answer" && <AnswerDialog post={data} onClose={close} />}
      {dialog === "cancel" && <CancelDialog post={data} onClose={close} />}
    </div>
  );
}

/** Why the post cannot be cancelled, as far as the page knows; the server decides. */
function cancelDisabledReason({ status, importedAt, destinations }: postActions_post$data): string | null {
  if (importedAt) return "Another service publishes this post. Cancel it there.";
  if (status === "DRAFT") return "This is a draft: nothing of it is published.";
  const statuses = (destinations ?? []).map((destination) => destination.status);
  if (statuses.includes("PUBLISHING")) return "It is being published right now. Wait until that has ended.";
  return statuses.includes("QUEUED") ? null : "Nothing of it is waiting any more.";
}
