// Fields of filters and orders.

import { useEffect, useRef, type ComponentProps } from "react";

import { instantOf, localInput } from "../text/times";
import { useZone } from "../text/zone";

export interface ChoiceProps<T extends string> {
  readonly label: string;
  readonly value: T;
  readonly options: readonly T[];
  readonly name: (option: T) => string;
  readonly onChange: (value: T) => void;
}

/** One of several options. */
export function Choice<T extends string>({ label, value, options, name, onChange }: ChoiceProps<T>) {
  return (
    <label>
      {label}
      <select
        value={value}
        onChange={(event) => onChange(options.find((option) => option === event.target.value) ?? value)}
      >
        <Options options={options} name={name} />
      </select>
    </label>
  );
}

interface FilterProps<T extends string> {
  readonly label: string;
  /** Values that match; any if it is empty. */
  readonly values: readonly T[];
  readonly options: readonly T[];
  readonly name: (option: T) => string;
  readonly onChange: (values: readonly T[]) => void;
}

/** Any value or one of several. Several values, which a link may contain, are one option more. */
export function ChoiceFilter<T extends string>({ label, values, options, name, onChange }: FilterProps<T>) {
  const selected = values.join(",");
  return (
    <label>
      {label}
      <select
        value={selected}
        onChange={(event) => onChange(options.filter((option) => option === event.target.value))}
      >
        <option value="">Any</option>
        {values.length > 1 && <option value={selected}>{values.map(name).join(", ")}</option>}
        <Options options={options} name={name} />
      </select>
    </label>
  );
}

function Options<T extends string>({ options, name }: Pick<ChoiceProps<T>, "options" | "name">) {
  return options.map((option) => (
    <option key={option} value={option}>
      {name(option)}
    </option>
  ));
}

interface TextProps {
  readonly label: string;
  readonly placeholder?: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

/** A text that takes effect on Enter, or when the field loses the focus. */
export function TextFilter({ label, placeholder, value, onChange }: TextProps) {
  return (
    <label>
      {label}
      <LateInput
        type="search"
        placeholder={placeholder}
        value={value}
        maxLength={200}
        onApply={(text) => text.trim() !== value && onChange(text.trim())}
      />
    </label>
  );
}

interface TimeProps {
  readonly label: string;
  readonly value: Date | null;
  readonly onChange: (value: Date | null) => void;
}

/** A time on the clock of the chosen zone, which takes effect on Enter, or when the field loses the focus. */
export function TimeFilter({ label, value, onChange }: TimeProps) {
  const zone = useZone();
  const local = value ? localInput(value, zone) : "";
  return (
    <label>
      {label}
      <LateInput
        type="datetime-local"
        value={local}
        onApply={(text) => text !== local && onChange(instantOf(text, zone))}
      />
    </label>
  );
}

interface InputProps extends Omit<ComponentProps<"input">, "value"> {
  readonly value: string;
  readonly onApply: (text: string) => void;
}

/** A field whose text takes effect on Enter, or when it loses the focus. */
function LateInput({ value, onApply, ...props }: InputProps) {
  const field = useRef<HTMLInputElement>(null);
  // By an effect: another key would replace the field, and with it lose the focus.
  useEffect(() => {
    field.current!.value = value;
  }, [value]);
  return (
    <input
      ref={field}
      defaultValue={value}
      onBlur={(event) => onApply(event.target.value)}
      onKeyDown={(event) => event.key === "Enter" && onApply(event.currentTarget.value)}
      {...props}
    />
  );
}
