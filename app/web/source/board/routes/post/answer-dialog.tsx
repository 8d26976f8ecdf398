// Shows an answer for the customer, to copy.

import { CopyField } from "../../components/copy-field";
import { CloseButton, Dialog } from "../../components/dialog";
import type { postActions_post$data } from "../../relay/__generated__/postActions_post.graphql";
import { serverNow } from "../../text/clock";
import { customerAnswer } from "../../text/customer-answer";
import { useZone } from "../../text/zone";

interface Props {
  readonly post: postActions_post$data;
  readonly onClose: () => void;
}

export function AnswerDialog({ post, onClose }: Props) {
  const zone = useZone();
  return (
    <Dialog title="Answer for the customer" onClose={onClose}>
      <CopyField label="Answer" value={customerAnswer(post, zone, serverNow())} rows={12} />
      <CloseButton onClose={onClose} />
    </Dialog>
  );
}
