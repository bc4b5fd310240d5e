// One agent of an editing trace, typing character by character through its own daemon with the stock
// y-websocket provider.
//
// A transaction's positions refer to the document at its parents, which is rarely what the tab shows:
// the others go on typing. So two things are kept apart.
//   * `wire` is the tab: a document whose only source of other people's words is the provider.
//   * The oracle replays the whole trace in memory, one document per agent that holds exactly the parents
//     of what it types next, with client ids agreed on beforehand. It yields the Yjs update of each
//     transaction; it is the same in every process because Yjs is deterministic.
// A transaction of ours is typed into `wire` (and so sent by the provider) only once `wire` holds all its
// parents, that is, once the daemons have delivered them. At the end `wire` must equal the oracle.
//
// Arguments: one JSON object {trace, agent, url, token, document_id, milestone}. Says JSON lines on standard output:
//   ready · milestone (everything before it is typed and arrived; waits for a line on standard input) ·
//   waiting (after the milestone: the first transaction whose parents have not arrived) · done. Ends with its input.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

const FIRST_CLIENT_ID = 1000
const BUFFERED_BYTES_MAX = 65536
const say = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`)

const options = JSON.parse(process.argv[2])
const trace = JSON.parse(readFileSync(options.trace, 'utf8'))
const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

// ---- the oracle

function replayed({ txns, numAgents }) {
  const agents = Array.from({ length: numAgents }, (_, agent) => {
    const doc = new Y.Doc()
    doc.clientID = FIRST_CLIENT_ID + agent
    return { doc, updates: [], merged: new Array(numAgents).fill(0) }
  })
  const versions = []
  const steps = txns.map(({ parents, agent, patches }, index) => {
    const version = agents.map((_, other) => Math.max(0, ...parents.map((parent) => versions[parent][other])))
    const self = agents[agent]
    agents.forEach((other, number) => {
      if (number !== agent)
        for (; self.merged[number] < version[number]; self.merged[number]++)
          Y.applyUpdate(self.doc, other.updates[self.merged[number]])
    })
    const text = self.doc.getText('text')
    const updates = []
    const note = (update) => updates.push(update)
    self.doc.on('update', note)
    self.doc.transact(() => {
      for (const [position, deleted, inserted] of patches) {
        if (deleted > 0) text.delete(position, deleted)
        if (inserted !== '') text.insert(position, inserted)
      }
    })
    self.doc.off('update', note)
    // every transaction of the traces changes something, so there is exactly one update
    if (updates.length !== 1) throw new Error(`transaction ${index} made ${updates.length} updates`)
    self.updates.push(updates[0])
    version[agent] = self.updates.length
    versions.push(version)
    const [deletedId] = [...Y.decodeUpdate(updates[0]).ds.clients].map(([client, [range]]) => [client, range.clock])
    return { agent, parents, update: updates[0], clock: Y.getState(self.doc.store, self.doc.clientID), deletedId }
  })
  const all = new Y.Doc()
  for (const { updates } of agents) Y.applyUpdate(all, Y.mergeUpdates(updates))
  return { steps, all }
}

const { steps, all } = replayed(trace)

// ---- the tab

const wire = new Y.Doc()
const provider = new WebsocketProvider(options.url, options.document_id, wire, {
  protocols: [`sheaf.bearer.${options.token}`, 'sheaf'],
  disableBc: true, // nothing may reach the other tab but through the daemons
})

let wake = () => {}
wire.on('update', () => wake())
async function until(condition) {
  while (!condition())
    await new Promise((resolve) => {
      wake = resolve
    })
}

function has({ agent, clock, deletedId }) {
  if (Y.getState(wire.store, FIRST_CLIENT_ID + agent) < clock) return false
  return deletedId === undefined || Y.getItem(wire.store, Y.createID(...deletedId)).deleted
}

async function room() {
  await new Promise((resolve) => setImmediate(resolve))
  while (provider.ws?.bufferedAmount > BUFFERED_BYTES_MAX) await new Promise((resolve) => setTimeout(resolve, 1))
}

if (!provider.synced) await new Promise((resolve) => provider.once('sync', resolve))
say('ready')
await commands.next()
const began = performance.now()
let isPastMilestone = false
let typed = 0
for (const [index, step] of steps.entries()) {
  if (index === options.milestone) {
    await until(() => steps.slice(0, index).every(has))
    say('milestone', { seconds: (performance.now() - began) / 1000 })
    await commands.next()
    isPastMilestone = true
  }
  if (step.agent !== options.agent) continue
  const lacks = () => step.parents.some((parent) => !has(steps[parent]))
  if (lacks()) {
    if (isPastMilestone) {
      say('waiting', { index, typed })
      isPastMilestone = false
    }
    await until(() => !lacks())
  }
  Y.applyUpdate(wire, step.update, 'typing')
  typed += 1
  if (typed % 16 === 0) await room()
}
await until(() => steps.every(has))
say('done', {
  seconds: (performance.now() - began) / 1000,
  typed,
  text: wire.getText('text').toString(),
  expected: all.getText('text').toString(),
  state: Buffer.from(Y.encodeStateAsUpdate(wire)).toString('base64'),
  expected_state: Buffer.from(Y.encodeStateAsUpdate(all)).toString('base64'),
})
await commands.next()
provider.destroy()
process.exit(0)
