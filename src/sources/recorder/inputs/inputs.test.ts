import { Input } from '../options';
import { addressError } from '../../../components/config/address';
import { addInput, duplicateInput, inputsOf, nameError, removeInput, renameInput } from './inputs';
import { Settings } from '../../../components/config/settings';

const plant: Input = { type: 'mqtt', name: 'plant' };
const plants: Input = { type: 'nats', name: 'plants' };

const settings = (change: Partial<Settings>): Settings =>
  ({ secureJsonFields: {}, jsonData: { recorder: { inputs: [plant, plants] } }, ...change }) as Settings;

describe('inputs', () => {
  it('are added under a free name', () => {
    let changed = settings({ jsonData: {} });
    changed = addInput(addInput(addInput(changed, 'mqtt'), 'mqtt'), 'push');
    expect(inputsOf(changed)).toEqual([
      { type: 'mqtt', name: 'mqtt', rules: { version: 4 } },
      { type: 'mqtt', name: 'mqtt-2', rules: { version: 4 } },
      { type: 'push', name: 'push', formats: ['influx', 'prometheus'] },
    ]);
  });

  it('are duplicated under a free name, without secrets', () => {
    const from = settings({ secureJsonFields: { 'input.plant.password': true } });
    const changed = duplicateInput(from, 0);
    expect(inputsOf(changed)).toEqual([plant, plants, { type: 'mqtt', name: 'plant-2' }]);
    expect(changed.secureJsonFields).toEqual({ 'input.plant.password': true });
  });

  it('have names of 32 characters at most', () => {
    const name = 'n'.repeat(32);
    let changed = settings({ jsonData: { recorder: { inputs: [{ type: 'nats', name }] } } });
    for (let n = 2; n <= 100; n++) {
      changed = duplicateInput(changed, 0);
    }
    const last = inputsOf(changed).at(-1)!.name;
    expect(last).toBe(`${'n'.repeat(28)}-100`);
    expect(nameError(last, [])).toBeUndefined();
  });

  it('are removed with their secrets, those of others staying', () => {
    const changed = removeInput(
      settings({
        secureJsonFields: { 'input.plant.password': true, 'input.plants.token': true },
        secureJsonData: { 'input.plant.caCert': 'typed', 'input.plants.caCert': 'typed' },
      }),
      0,
    );
    expect(inputsOf(changed)).toEqual([plants]);
    // Grafana forgets a secret when it is given an empty text for it.
    expect(changed.secureJsonData).toEqual({ 'input.plant.password': '', 'input.plants.caCert': 'typed' });
    expect(changed.secureJsonFields).toEqual({ 'input.plant.password': false, 'input.plants.token': true });
  });

  it('are renamed with the secrets that were typed, and say which cannot move', () => {
    const { settings: changed, lost } = renameInput(
      settings({
        secureJsonFields: { 'input.plant.password': true, 'input.plant.clientKey': false, 'input.plants.token': true },
        secureJsonData: { 'input.plant.caCert': 'typed', 'input.plant.clientKey': 'anew' },
      }),
      0,
      'hall',
    );
    expect(inputsOf(changed)).toEqual([{ type: 'mqtt', name: 'hall' }, plants]);
    expect(lost).toEqual(['password']);
    expect(changed.secureJsonData).toEqual({
      'input.hall.caCert': 'typed',
      'input.hall.clientKey': 'anew',
      'input.plant.password': '',
      'input.plant.clientKey': '',
    });
    expect(changed.secureJsonFields).toEqual({
      'input.plant.password': false,
      'input.plant.clientKey': false,
      'input.plants.token': true,
    });
  });

  it('never get secrets that an input with the same name has left behind', () => {
    const left = settings({
      secureJsonFields: { 'input.nats.token': true },
      secureJsonData: { 'input.hall.token': 'x' },
    });
    const changed = renameInput(addInput(left, 'nats'), 0, 'hall').settings;
    expect(changed.secureJsonFields).toEqual({ 'input.nats.token': false });
    expect(changed.secureJsonData).toEqual({ 'input.nats.token': '' });
  });

  it.each(['', 'Plant', '-a', 'a b', 'ä', 'a.b', 'x'.repeat(33)])('cannot be named %j', (name) => {
    expect(nameError(name, [])).toMatch(/enter up to 32 lower-case letters/);
  });

  it('cannot have the name of another input or of the host input', () => {
    expect(nameError('plant', ['plant'])).toMatch(/taken/);
    expect(nameError('host', [])).toMatch(/taken/);
    expect(nameError('plant', ['hall'])).toBeUndefined();
  });
});

describe('an address', () => {
  const error = (text: string) => addressError([text], ['tcp', 'wss'], 'tcp://broker:1883');

  it.each(['tcp://broker:1883', 'TCP://broker', 'wss://server/path?mail=a@b'])('may be %s', (text) => {
    expect(error(text)).toBeUndefined();
  });

  it.each(['broker:1883', 'http://broker', 'tcp://', 'tcp:///path', 'nonsense'])('must not be %s', (text) => {
    expect(error(text)).toBe('enter an address such as tcp://broker:1883, beginning with tcp:// or wss://');
  });

  it.each(['tcp://me:secret@broker', 'wss://token@server/'])('must not hold a password: %s', (text) => {
    expect(error(text)).toMatch(/enter user and password in the fields below/);
  });
});
