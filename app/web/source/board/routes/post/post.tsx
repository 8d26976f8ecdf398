// One post: what happened to it on each account, and what to do.

import { graphql } from "react-relay/hooks";
import { useLocation } from "wouter";

import type { postPageQuery } from "../../relay/__generated__/postPageQuery.graphql";
import { BackLink } from "../../components/back-link";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { SearchField } from "../../components/search-field";
import { useShortcuts } from "../../keyboard/shortcuts";
import type { ChangeEvent } from "../../live/events";
import { useLiveQuery } from "../../relay/live-query";
import { useViewer } from "../../session/viewer";
import { truncated } from "../../text/characters";
import { isUuid } from "../../url/parameters";
import { postPath } from "../../url/paths";
import { moveToAdjacentPost } from "../results/last-results";
import { DestinationCard } from "./destination-card";
import { PostActions } from "./post-actions";
import { PostActivity } from "./post-activity";
import { PostHeader } from "./post-header";
import { PostWebhooks } from "./post-webhooks";

interface Props {
  readonly postId: string;
}

const TITLE_LENGTH = 60;
/** Number of cards that are open at first; each open card reads its own attempts. */
const OPEN_CARDS = 3;

export default function PostPage({ postId }: Props) {
  const [, navigate] = useLocation();

  function openAdjacent(direction: "before" | "after"): void {
    const id = moveToAdjacentPost(postId, direction);
    if (id !== null) navigate(postPath(id));
  }

  useShortcuts({ "[": () => openAdjacent("before"), "]": () => openAdjacent("after") });
  if (!isUuid(postId)) return <NoSuchPost />;
  return <Panel lines={20}>{(fetchKey) => <Post postId={postId.toLowerCase()} fetchKey={fetchKey} />}</Panel>;
}

function Post({ postId, fetchKey }: Props & { readonly fetchKey: number }) {
  const { scopes } = useViewer();
  const { post } = useLiveQuery<postPageQuery>(
    graphql`
      query postPageQuery($postId: UUID!) {
        post(postId: $postId) {
          content
          reference
          ...postHeader_post
          ...postActions_post
          destinations {
            id
            accountId
            status
            retryRefusal
            ...destinationCard_destination
          }
        }
      }
    `,
    { postId },
    { fetchKey, isRelevant },
  );
  const destinations = post?.destinations ?? [];
  const retryable = destinations.filter(({ status, retryRefusal }) => status === "FAILED" && !retryRefusal);

  /** A change of an account decides whether a retry is possible. */
  function isRelevant({ postId: changedPostId, accountId }: ChangeEvent): boolean {
    if (changedPostId !== null) return changedPostId === postId;
    return destinations.some((destination) => destination.accountId === accountId);
  }

  if (!post) return <NoSuchPost />;
  return (
    <Page
      title={truncated(post.content || post.reference || "Post", TITLE_LENGTH)}
      actions={<BackLink list="/results" />}
    >
      <PostHeader post={post} />
      <PostActions post={post} />
      <section aria-label="Accounts" className="cards">
        {destinations.length === 0 && <p className="muted">This draft has no accounts yet.</p>}
        {destinations.map((destination, index) => (
          <DestinationCard
            key={destination.id}
            destination={destination}
            postId={postId}
            isInitiallyOpen={index < OPEN_CARDS}
            isOnlyRetryable={retryable.length === 1 && retryable[0] === destination}
          />
        ))}
      </section>
      <Panel lines={4}>{(key) => <PostActivity postId={postId} fetchKey={key} />}</Panel>
      {scopes.includes("ADMIN") && <PostWebhooks postId={postId} />}
    </Page>
  );
}

function NoSuchPost() {
  return (
    <Page title="No such post" actions={<BackLink list="/results" />}>
      <p>It does not exist in this workspace, or it was deleted. Search for another one:</p>
      <SearchField />
    </Page>
  );
}
