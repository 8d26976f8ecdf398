// A button that shows how to read the same results by the API.

import { useState } from "react";

import { CloseButton, Dialog } from "../../components/dialog";
import { lazyPart } from "../../components/lazy";
import { Panel } from "../../components/panel";
import type { ResultsView } from "../../url/results";

const ApiCommands = lazyPart(() => import("./api-commands"));

export function ShowAsApi({ view }: { readonly view: ResultsView }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" onClick={() => setOpen(true)}>
        Show as API
      </button>
      {isOpen && (
        <Dialog title="These results by the API" onClose={() => setOpen(false)}>
          <Panel lines={16}>{() => <ApiCommands view={view} />}</Panel>
          <CloseButton onClose={() => setOpen(false)} />
        </Dialog>
      )}
    </>
  );
}
