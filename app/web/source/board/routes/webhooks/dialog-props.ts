// Properties of the dialogs about one webhook.

import type { Webhook } from "./webhook-facts";

export interface DialogProps {
  readonly webhook: Webhook;
  readonly onClose: () => void;
}
