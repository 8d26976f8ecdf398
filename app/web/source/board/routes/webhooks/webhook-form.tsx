// The settings of a webhook; an error of the server is shown at its field.

import { useEffect, useId, useRef, useState, type ReactNode } from "react";

import { ErrorMessage } from "../../components/error-panel";
import { Panel } from "../../components/panel";
import { UserText } from "../../components/user-text";
import { ServerError } from "../../relay/server-error";
import { EVENT_GROUPS, eventWords, type WebhookSettings } from "../../text/webhooks";
import { CheckList } from "./check-list";
import { ReceiverFilters } from "./receiver-filters";

type FieldName = keyof WebhookSettings;

interface Props {
  readonly initial: WebhookSettings;
  /** Label of the button that sends the settings. */
  readonly verb: string;
  readonly isBusy: boolean;
  readonly error: Error | null;
  readonly onSubmit: (settings: WebhookSettings) => void;
  readonly onClose: () => void;
}

const FIELDS: readonly FieldName[] = ["url", "name", "description", "events", "platforms", "accountIds"];

export function WebhookForm({ initial, verb, isBusy, error, onSubmit, onClose }: Props) {
  const form = useRef<HTMLFormElement>(null);
  const [settings, setSettings] = useState(initial);
  const change = (changes: Partial<WebhookSettings>) => setSettings({ ...settings, ...changes });
  const wrongField = fieldOf(error);
  const errorAt = (name: FieldName) => (wrongField === name ? error!.message : null);
  useEffect(() => {
    form.current!.querySelector<HTMLElement>("[data-invalid=true]")?.focus();
  }, [error]);
  return (
    <form
      ref={form}
      className="webhook-form"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy) onSubmit(settings);
      }}
    >
      <TextField
        label="URL of the receiver"
        hint="It starts with https:// and can be reached from this server."
        value={settings.url}
        error={errorAt("url")}
        type="url"
        autoFocus
        onChange={(url) => change({ url })}
      />
      <TextField
        label="Name (optional)"
        value={settings.name}
        error={errorAt("name")}
        onChange={(name) => change({ name })}
      />
      <FieldGroup legend="Events" error={errorAt("events") && "Choose at least one event."}>
        {EVENT_GROUPS.map(({ name, events }) => (
          <CheckList
            key={name}
            legend={name}
            values={settings.events}
            options={events}
            name={eventWords}
            onChange={(chosen) => change({ events: chosen })}
          />
        ))}
      </FieldGroup>
      <details open={initial.platforms.length + initial.accountIds.length > 0}>
        <summary>Only some platforms or accounts</summary>
        <Panel lines={4}>
          {(fetchKey) => <ReceiverFilters settings={settings} fetchKey={fetchKey} onChange={change} />}
        </Panel>
      </details>
      <FieldError text={errorAt("platforms") ?? errorAt("accountIds")} />
      <TextField
        label="Notes (optional)"
        value={settings.description}
        error={errorAt("description")}
        onChange={(description) => change({ description })}
      />
      {error && !wrongField && <ErrorMessage error={error} />}
      <div className="buttons">
        <button type="submit" className="primary" aria-disabled={isBusy}>
          {verb}
        </button>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </form>
  );
}

/** The field whose value the server refuses; undefined for another error. */
function fieldOf(error: Error | null): FieldName | undefined {
  const path = error instanceof ServerError ? (error.field ?? "") : "";
  return FIELDS.find((name) => path.split(/[.[]/).includes(name));
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string;
  readonly value: string;
  readonly error: string | null;
  readonly type?: "text" | "url";
  readonly autoFocus?: boolean;
  readonly onChange: (value: string) => void;
}

function TextField({ label, hint, value, error, type = "text", autoFocus, onChange }: FieldProps) {
  const id = useId();
  return (
    <div className="field">
      <label>
        {label}
        <input
          type={type}
          value={value}
          autoFocus={autoFocus}
          autoComplete="off"
          spellCheck={false}
          aria-invalid={error !== null}
          aria-describedby={id}
          data-invalid={error !== null}
          onChange={(event) => onChange(event.target.value)}
        />
      </label>
      <div id={id}>
        {error === null ? <small className="muted">{hint}</small> : <FieldError text={error} />}
      </div>
    </div>
  );
}

interface GroupProps {
  readonly legend: string;
  readonly error: string | null;
  readonly children: ReactNode;
}

function FieldGroup({ legend, error, children }: GroupProps) {
  const id = useId();
  return (
    <fieldset className="choices" aria-describedby={id} data-invalid={error !== null} tabIndex={-1}>
      <legend>{legend}</legend>
      {children}
      <div id={id}>
        <FieldError text={error} />
      </div>
    </fieldset>
  );
}

function FieldError({ text }: { readonly text: string | null }) {
  if (text === null) return null;
  return (
    <p className="problem" role="alert">
      <UserText text={text} />
    </p>
  );
}
