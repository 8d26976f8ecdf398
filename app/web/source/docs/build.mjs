// Renders the Markdown guides to static HTML pages without scripts.

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { createHash } from "node:crypto";
import GithubSlugger from "github-slugger";
import hljs from "highlight.js/lib/common";
import graphql from "highlight.js/lib/languages/graphql";
import MarkdownIt from "markdown-it";
import anchor from "markdown-it-anchor";

/** File names of the guides, in the order in which the navigation lists them. */
const GUIDES = [
  "board",
  "graphql",
  "rest",
  "live",
  "webhooks",
  "clients",
  "publishing",
  "first-post",
  "platforms",
  "credentials",
  "own-publishers",
  "adapters",
  "retries",
  "import",
  "operating",
  "sso",
  "settings",
  "backup",
  "contributing",
  "changelog",
];

hljs.registerLanguage("graphql", graphql);

/**
 * Renders every guide in `source` into `folder`, with an index page.
 *
 * `style` is the name of the style sheet in the assets folder next to the pages.
 */
export async function buildDocs(source, folder, style) {
  const files = (await readdir(source)).filter((name) => extname(name) === ".md");
  const missing = GUIDES.filter((name) => !files.includes(`${name}.md`));
  const unlisted = files.filter((name) => !GUIDES.includes(basename(name, ".md")));
  if (missing.length || unlisted.length) {
    throw new Error(`Guides missing: ${missing}; guides not listed in docs/build.mjs: ${unlisted}`);
  }
  const images = await copyImages(join(source, "images"), join(folder, "assets"));
  const guides = [];
  for (const name of GUIDES) {
    guides.push(render(name, await readFile(join(source, `${name}.md`), "utf8"), images));
  }
  for (const guide of guides) {
    const navigation = navigationOf(guides, guide, "");
    await writeFile(
      join(folder, `${guide.name}.html`),
      page({ title: guide.title, body: guide.html, navigation, style: `assets/${style}`, root: ".." }),
    );
  }
  const navigation = navigationOf(guides, undefined, "docs/");
  await writeFile(
    join(folder, "index.html"),
    page({ title: "Documentation", body: overview(guides), navigation, style: `docs/assets/${style}`, root: "." }),
  );
}

/** Copies images under names that change with their content; the new names by the old ones. */
async function copyImages(source, assets) {
  await mkdir(assets, { recursive: true });
  const names = new Map();
  for (const name of await readdir(source)) {
    const content = await readFile(join(source, name));
    const hash = createHash("sha256").update(content).digest("hex").slice(0, 8).toUpperCase();
    const extension = extname(name);
    names.set(`images/${name}`, `${basename(name, extension)}-${hash}${extension}`);
    await copyFile(join(source, name), join(assets, names.get(`images/${name}`)));
  }
  return names;
}

/** HTML, title and second-level headings of one guide. */
function render(name, markdown, images) {
  const sections = [];
  let title = name;
  const slugger = new GithubSlugger();
  const parser = new MarkdownIt({ html: true, highlight }).use(anchor, {
    slugify: (text) => slugger.slug(text),
    permalink: anchor.permalink.headerLink({ safariReaderFix: true }),
    callback: (token, { slug, title: text }) => {
      if (token.tag === "h1") title = text;
      if (token.tag === "h2") sections.push({ slug, text });
    },
  });
  const defaultLink = parser.renderer.rules.link_open ?? ((tokens, i, options, _env, self) => self.renderToken(tokens, i, options));
  parser.renderer.rules.link_open = (tokens, i, options, env, self) => {
    const token = tokens[i];
    const target = token.attrGet("href") ?? "";
    const guide = /^([\w-]+)\.md(#.*)?$/.exec(target);
    if (guide) token.attrSet("href", `${guide[1]}${guide[2] ?? ""}`);
    return defaultLink(tokens, i, options, env, self);
  };
  const defaultImage = parser.renderer.rules.image;
  parser.renderer.rules.image = (tokens, i, options, env, self) => {
    const source = tokens[i].attrGet("src") ?? "";
    if (!images.has(source)) throw new Error(`${name}.md shows ${source}, which is not in images/`);
    tokens[i].attrSet("src", `assets/${images.get(source)}`);
    return defaultImage(tokens, i, options, env, self);
  };
  // Wide tables scroll on their own, so that the page does not.
  parser.renderer.rules.table_open = () => '<div class="table"><table>\n';
  parser.renderer.rules.table_close = () => "</table></div>\n";
  const html = parser.render(markdown);
  return { name, title, sections, html };
}

function highlight(code, language) {
  return hljs.getLanguage(language) ? hljs.highlight(code, { language }).value : "";
}

function escapeHtml(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** The list of guides, with the sections of the current one. */
function navigationOf(guides, current, prefix) {
  const items = guides.map((guide) => {
    if (guide !== current) return `<li><a href="${prefix}${guide.name}">${escapeHtml(guide.title)}</a></li>`;
    const sections = guide.sections
      .map(({ slug, text }) => `<li><a href="#${slug}">${escapeHtml(text)}</a></li>`)
      .join("");
    return `<li><a href="${prefix}${guide.name}" aria-current="page">${escapeHtml(guide.title)}</a><ul>${sections}</ul></li>`;
  });
  return `<ul>${items.join("\n")}</ul>`;
}

function overview(guides) {
  const items = guides.map(({ name, title, sections }) => {
    const links = sections.map(({ slug, text }) => `<a href="docs/${name}#${slug}">${escapeHtml(text)}</a>`);
    return `<li><h2><a href="docs/${name}">${escapeHtml(title)}</a></h2><p>${links.join(" · ")}</p></li>`;
  });
  return `<h1>Documentation</h1>\n<ul class="overview">${items.join("\n")}</ul>`;
}

/** One whole page. The server replaces the comment with a link to GraphiQL if it serves that page. */
function page({ title, body, navigation, style, root }) {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>${escapeHtml(title)} · post-results</title>
    <link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%23634ad4'/%3E%3Cpath d='M4 8.5l2.5 2.5L12 5.5' stroke='white' stroke-width='2' fill='none'/%3E%3C/svg%3E" />
    <link rel="stylesheet" href="${style}" />
  </head>
  <body>
    <a class="skip" href="#content">Skip to content</a>
    <header><a class="home" href="${root}/docs">post-results</a><!-- graphiql ${root}/graphiql --></header>
    <div class="columns">
      <nav aria-label="Guides">${navigation}</nav>
      <main id="content">${body}</main>
    </div>
  </body>
</html>
`;
}
