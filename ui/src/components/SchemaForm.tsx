import {
  JsonInput,
  MultiSelect,
  NumberInput,
  Select,
  SimpleGrid,
  Switch,
  TagsInput,
  Text,
  TextInput,
} from '@mantine/core';
import { useState } from 'react';

import type { Json, JsonObject } from '../api/types';
import { fault, type Field } from '../lib/schema';

interface Props {
  fields: Field[];
  values: JsonObject;
  onChange: (values: JsonObject) => void;
  disabled?: boolean;
}

/** A form made from the JSON Schema of a policy's parameters. */
export function SchemaForm({ fields, values, onChange, disabled = false }: Props) {
  if (fields.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        This policy has no settings.
      </Text>
    );
  }
  return (
    <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="md" verticalSpacing="md">
      {fields.map((field) => (
        <FieldInput
          key={field.key}
          field={field}
          value={values[field.key] ?? null}
          disabled={disabled}
          onChange={(value) => onChange({ ...values, [field.key]: value })}
        />
      ))}
    </SimpleGrid>
  );
}

interface InputProps {
  field: Field;
  value: Json;
  disabled: boolean;
  onChange: (value: Json) => void;
}

function FieldInput({ field, value, disabled, onChange }: InputProps) {
  const common = {
    label: field.label,
    description: field.help,
    withAsterisk: field.required,
    disabled,
    error: fault(field, value),
    inputWrapperOrder: ['label', 'input', 'error', 'description'] as (
      'label' | 'input' | 'error' | 'description'
    )[],
  };
  switch (field.kind) {
    case 'flag':
      return (
        <Switch
          label={field.label}
          description={field.help}
          disabled={disabled}
          checked={value === true}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
      );
    case 'number':
      return (
        <NumberInput
          {...common}
          value={typeof value === 'number' ? value : ''}
          allowDecimal={!field.whole}
          {...(field.min === undefined ? {} : { min: field.min })}
          {...(field.max === undefined ? {} : { max: field.max })}
          clampBehavior="none"
          thousandSeparator=" "
          onChange={(next) => onChange(next === '' ? null : Number(next))}
        />
      );
    case 'choice':
      return (
        <Select
          {...common}
          data={field.options.map(String)}
          value={value === null ? null : String(value)}
          allowDeselect={false}
          onChange={(next) => onChange(field.options.find((one) => String(one) === next) ?? null)}
        />
      );
    case 'zone':
      return (
        <Select
          {...common}
          searchable
          limit={60}
          data={zones(value)}
          value={typeof value === 'string' ? value : null}
          allowDeselect={false}
          onChange={onChange}
        />
      );
    case 'list':
      return <ListInput common={common} field={field} value={value} onChange={onChange} />;
    case 'json':
      return <JsonField common={common} value={value} onChange={onChange} />;
    default:
      return (
        <TextInput
          {...common}
          value={typeof value === 'string' ? value : ''}
          placeholder={field.kind === 'time' ? 'HH:MM' : ''}
          onChange={(event) => onChange(event.currentTarget.value)}
        />
      );
  }
}

interface Shared {
  common: object;
  value: Json;
  onChange: (value: Json) => void;
}

function ListInput({
  common,
  field,
  value,
  onChange,
}: Shared & { field: Field & { kind: 'list' } }) {
  const chosen = Array.isArray(value) ? value.map(String) : [];
  if (field.options) {
    const data = [...new Set([...field.options.map(String), ...chosen])];
    return <MultiSelect {...common} data={data} value={chosen} onChange={onChange} clearable />;
  }
  return (
    <TagsInput
      {...common}
      value={chosen}
      placeholder={chosen.length === 0 ? 'Type and press Enter' : ''}
      splitChars={[',', '\n']}
      acceptValueOnBlur
      onChange={onChange}
    />
  );
}

/** What no other field fits is typed as JSON; it counts once it can be read. */
function JsonField({ common, value, onChange }: Shared) {
  const [text, setText] = useState(() => (value === null ? '' : JSON.stringify(value, null, 2)));
  return (
    <JsonInput
      {...common}
      value={text}
      autosize
      minRows={2}
      validationError="This is not JSON yet."
      onChange={(next) => {
        setText(next);
        try {
          onChange(next.trim() ? (JSON.parse(next) as Json) : null);
        } catch {
          // Said below the field; the last readable value stays.
        }
      }}
    />
  );
}

function zones(current: Json): string[] {
  const known = Intl.supportedValuesOf('timeZone');
  const extra = typeof current === 'string' && current ? [current, 'UTC'] : ['UTC'];
  return [...new Set([...extra, ...known])];
}
