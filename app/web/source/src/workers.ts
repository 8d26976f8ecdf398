// Where the editor finds its background workers. Each is a file of its own: nothing is made of strings.

/** File names beside this module, by the label of the worker; put in by the build. */
declare const WORKERS: Record<string, string>;

window.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(new URL(WORKERS[label] ?? WORKERS["editor"]!, import.meta.url)),
};
