import { Box, Button, Card, Checkbox, Dropdown, Field, FieldSet, Grid, Menu, Stack, Text } from '@grafana/ui';
import { uniqueId } from 'lodash';
import React, { useState } from 'react';
import { RecorderOptions, withRecorder } from '../options';
import { DurationField } from '../../../components/config/fields';
import { InputCard } from './InputCard';
import { addInput, duplicateInput, exampleText, inputsOf, removeInput, TYPES } from './inputs';
import { DocsLink } from '../../../components/DocsLink';
import { PartProps, Settings } from '../../../components/config/settings';
import { InputStatus } from '../status';
import { HOUR, SECOND } from '../../../components/config/units';

interface Props extends PartProps {
  /** The status of the inputs that run. */
  states: InputStatus[];
}

/** What the recorder records. */
export function InputsSection({ settings, onChange, states }: Props) {
  const { noHost, hostInterval } = settings.jsonData.recorder ?? {};
  const save = (change: RecorderOptions) => onChange(withRecorder(settings, change));
  const inputs = inputsOf(settings);
  // Inputs need ids, because their names change while the user edits, and a card must keep its state.
  const [held, setIds] = useState<string[]>([]);
  const [added, setAdded] = useState<string>();
  let ids = held;
  if (held.length !== inputs.length) {
    ids = inputs.map((_, index) => held[index] ?? uniqueId('input'));
    setIds(ids); // changed from elsewhere
  }

  const append = (changed: Settings) => {
    const id = uniqueId('input');
    setIds([...ids, id]);
    setAdded(id);
    onChange(changed);
  };

  return (
    <FieldSet label="Inputs">
      <Field>
        <Checkbox
          label="This machine"
          description="CPU, memory, disks, network and temperatures of the machine that Grafana runs on."
          value={!noHost}
          disabled={settings.readOnly}
          onChange={({ currentTarget }) => save({ noHost: currentTarget.checked ? undefined : true })}
        />
      </Field>
      {!noHost && (
        <DurationField
          label="Interval"
          description="The time between two samples of this machine."
          value={hostInterval}
          least={250}
          most={HOUR}
          fallback={SECOND}
          disabled={settings.readOnly}
          onChange={(value) => save({ hostInterval: value })}
        />
      )}
      {inputs.map((input, index) => (
        <InputCard
          key={ids[index]}
          settings={settings}
          onChange={onChange}
          index={index}
          state={states.find(({ name }) => name === input.name)}
          isNew={ids[index] === added}
          onDuplicate={() => append(duplicateInput(settings, index))}
          onRemove={() => {
            setIds(ids.filter((_, i) => i !== index));
            onChange(removeInput(settings, index));
          }}
        />
      ))}
      {inputs.length === 0 && !settings.readOnly && (
        <Box marginBottom={2}>
          <Text element="p" color="secondary">
            What else is to be recorded? Each begins with an example, whose address and topics you replace.{' '}
            <DocsLink page="inputs.md">All about inputs</DocsLink>
          </Text>
          <Grid columns={{ xs: 1, md: 2 }} gap={1}>
            {TYPES.map(({ value, label, description, example }) => (
              <Card key={value} style={{ marginBottom: 0 }} onClick={() => append(addInput(settings, value, example))}>
                <Card.Heading>{label}</Card.Heading>
                <Card.Description>{description}</Card.Description>
                <Card.Meta>{exampleText(example)}</Card.Meta>
              </Card>
            ))}
          </Grid>
        </Box>
      )}
      <Stack direction="row">
        <Dropdown
          placement="bottom-start"
          overlay={
            <Menu>
              {TYPES.map(({ value, label, description }) => (
                <Menu.Item
                  key={value}
                  label={label}
                  description={description}
                  // A second one would be of no use: the addresses of push belong to the data source.
                  disabled={value === 'push' && inputs.some(({ type }) => type === 'push')}
                  onClick={() => append(addInput(settings, value))}
                />
              ))}
            </Menu>
          }
        >
          <Button variant="secondary" icon="plus" disabled={settings.readOnly}>
            Add input
          </Button>
        </Dropdown>
      </Stack>
    </FieldSet>
  );
}
