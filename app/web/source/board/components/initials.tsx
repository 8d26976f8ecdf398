// Initials of an account. Its picture is not loaded, because a request would reveal the viewer to another server.

const MAX_INITIALS = 2;

export function Initials({ name }: { readonly name: string }) {
  const letters = (name.match(/(?<![\p{L}\p{N}])[\p{L}\p{N}]/gu) ?? []).slice(0, MAX_INITIALS).join("");
  return (
    <span className="initials" aria-hidden="true">
      {letters.toUpperCase() || "?"}
    </span>
  );
}
