// Who made a change.

export interface ActorFields {
  readonly keyId: string | null | undefined;
  readonly keyName: string | null | undefined;
  readonly person: string | null | undefined;
}

/** "Ann with the key “board”", or one of both. */
export function actorName({ person, keyId, keyName }: ActorFields): string {
  return [person, keyId && keyLabel(keyName)].filter(Boolean).join(" with ");
}

export function keyLabel(keyName: string | null | undefined): string {
  return keyName ? `the key “${keyName}”` : "a key of another workspace";
}
