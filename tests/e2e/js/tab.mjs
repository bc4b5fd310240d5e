// A tab with the stock y-websocket provider, told what to do by JSON lines on standard input.
//
// Arguments: one JSON object {version: 2 | 3, url, token, document_id, client_id?, connect}. Says on standard
// output {event: "closed", code, reason} whenever the daemon hangs up, and answers each command with
// {event: "answer", …}. Commands: {do: "type", words, at?, each?} (one transaction for each `each` characters),
// {do: "repeat", words, times} (a transaction each), {do: "apply", update} (base64), {do: "connect"},
// {do: "disconnect"}, {do: "type_at_once", words} (connects, and types as soon as the line is up, before the
// daemon has asked for anything), {do: "until", words} (until the text contains them), {do: "look"}.
import { createInterface } from 'node:readline'
import * as Y from 'yjs'

const options = JSON.parse(process.argv[2])
const { WebsocketProvider } = await import(options.version === 2 ? 'y-websocket-2' : 'y-websocket')
const say = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`)

let errors = 0
console.error = () => {
  errors += 1
}
console.warn = () => {}
let opened = 0
class CountingSocket extends WebSocket {
  constructor(...parameters) {
    super(...parameters)
    opened += 1
    this.addEventListener('close', ({ code, reason }) => {
      if (code !== 1005) say('closed', { code, reason }) // 1005: it was we who left
    })
  }
}

const doc = new Y.Doc()
if (options.client_id) doc.clientID = options.client_id
const text = doc.getText('text')
const provider = new WebsocketProvider(options.url, options.document_id, doc, {
  protocols: [`sheaf.bearer.${options.token}`, 'sheaf'],
  disableBc: true,
  connect: options.connect ?? true,
  WebSocketPolyfill: CountingSocket,
})

let gaveUp = null
provider.on('closed', (event) => {
  gaveUp = event
})
const synced = () =>
  provider.synced ? Promise.resolve() : new Promise((resolve) => provider.once('sync', () => resolve()))

function type(words, at, each = words.length) {
  for (let from = 0; from < words.length; from += each) {
    const some = words.slice(from, from + each)
    text.insert(at === undefined ? text.length : at + from, some)
  }
}

const look = () => ({
  text: text.toString(),
  pending: doc.store.pendingStructs !== null,
  synced: provider.synced,
  gave_up: gaveUp,
  errors,
  opened,
})

async function run(command) {
  switch (command.do) {
    case 'type':
      type(command.words, command.at, command.each)
      break
    case 'repeat':
      for (let time = 0; time < command.times; time += 1) type(command.words)
      break
    case 'apply':
      Y.applyUpdate(doc, Buffer.from(command.update, 'base64'), 'elsewhere')
      break
    case 'connect':
      provider.connect()
      await synced()
      break
    case 'disconnect':
      provider.disconnect()
      break
    case 'type_at_once':
      provider.once('status', function typeWhenUp({ status }) {
        if (status === 'connected') type(command.words, undefined, 1)
        else provider.once('status', typeWhenUp)
      })
      provider.connect()
      await synced()
      break
    case 'until':
      while (!text.toString().includes(command.words)) await new Promise((resolve) => doc.once('update', resolve))
      break
  }
  return look()
}

for await (const line of createInterface({ input: process.stdin })) say('answer', await run(JSON.parse(line)))
provider.destroy()
process.exit(0)
