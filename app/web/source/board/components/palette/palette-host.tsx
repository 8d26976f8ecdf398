// The dialog of the palette, outside of the pages. Its content is loaded when it opens first.

import { useShortcuts } from "../../keyboard/shortcuts";
import { useStore, ValueStore } from "../../store";
import { CloseButton, Dialog } from "../dialog";
import type { NavigationItem } from "../layout";
import { lazyPart } from "../lazy";
import { Panel } from "../panel";

const Palette = lazyPart(() => import("./palette"));

const isOpen = new ValueStore(false);

export function openPalette(): void {
  isOpen.set(true);
}

function closePalette(): void {
  isOpen.set(false);
}

export function PaletteHost({ pages }: { readonly pages: readonly NavigationItem[] }) {
  useShortcuts({ "Mod+k": openPalette });
  if (!useStore(isOpen)) return null;
  return (
    <Dialog title="Go to" onClose={closePalette}>
      <Panel lines={8}>{() => <Palette pages={pages} onClose={closePalette} />}</Panel>
      <CloseButton onClose={closePalette} />
    </Dialog>
  );
}
