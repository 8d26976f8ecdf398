// The page at /sign-in.

import { useEffect } from "react";
import { useLocation } from "wouter";

import { nextPath } from "./next-path";
import { SignInForm } from "./sign-in-form";

interface Props {
  /** Loads what the pages need, before the next page is opened; returns false without a session. */
  readonly onSignedIn: () => Promise<boolean>;
}

export function SignInPage({ onSignedIn }: Props) {
  const [, navigate] = useLocation();
  useEffect(() => {
    document.title = "Sign in · post-results";
  }, []);
  async function openNextPage(): Promise<boolean> {
    const isSignedIn = await onSignedIn();
    if (isSignedIn) navigate(nextPath(location.search), { replace: true });
    return isSignedIn;
  }

  return (
    <main id="content" className="sign-in-page">
      <h1>Sign in</h1>
      <p>See what happened to every post on every platform.</p>
      <SignInForm onSignedIn={openNextPage} />
    </main>
  );
}
