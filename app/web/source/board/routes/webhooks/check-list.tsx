// Checkboxes of which any number can be chosen.

interface Props<T extends string> {
  readonly legend: string;
  readonly values: readonly string[];
  readonly options: readonly T[];
  readonly name: (option: T) => string;
  /** The chosen values, also those that are no option. */
  readonly onChange: (values: readonly string[]) => void;
}

export function CheckList<T extends string>({ legend, values, options, name, onChange }: Props<T>) {
  return (
    <fieldset className="choices">
      <legend>{legend}</legend>
      {options.map((option) => (
        <label key={option} className="check">
          <input
            type="checkbox"
            checked={values.includes(option)}
            onChange={({ target }) =>
              onChange(target.checked ? [...values, option] : values.filter((value) => value !== option))
            }
          />
          {name(option)}
        </label>
      ))}
    </fieldset>
  );
}
