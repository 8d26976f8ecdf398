// Starts the web workers of the editor from separate files, because the CSP forbids code from strings.

/** File names beside this module, by the label of the worker; defined by build.mjs. */
declare const WORKERS: Record<string, string>;

window.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(new URL(WORKERS[label] ?? WORKERS["editor"]!, import.meta.url)),
};
