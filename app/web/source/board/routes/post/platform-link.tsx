// Opens a publication on its platform, in a new tab.

import { webUrl } from "../../text/characters";

export function PlatformLink({ url }: { readonly url: string | null | undefined }) {
  const target = webUrl(url);
  if (!target) return null;
  return (
    <>
      {" · "}
      <a href={target.href} target="_blank" rel="noopener noreferrer">
        Open on {target.hostname}
      </a>
    </>
  );
}
