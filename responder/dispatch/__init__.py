"""The way of a datagram from a socket to a handler and back.  This is the theory of operation; read it first.

        net                            dispatch                                                      plugin
                     +------------------------------------------------------------------+
    kernel -> socket | port.py      take a burst of datagrams                           |
                     |    |                                                             |
                     | flow.py      decide about a flow: who may take its datagrams,    |
                     |    |         how replies go, where each is counted               |
                     |    |           access.py      may this peer ask?                 |
                     |    |           addressing.py  which source, which way out?       |
                     | own.py       did this daemon send it itself?                     |
                     |    |                                                             |
                     | request.py   the datagram as its handler sees it ----------------+-> respond(request)
                     |                                                                  |        |
                     | tasks.py     an answer that waits: driven, bounded in time  <----+--------+
                     |    |                                                             |
                     | answers.py   an answer -> datagrams, addressed and checked       |
                     |    |           budget.py      how much may this peer get?        |
                     |    |           outcomes.py    counted                            |
                     |    |           observers.py   told to those who watch            |
    kernel <- socket | sender.py    send: at once, or later where the kernel is full    |
                     +------------------------------------------------------------------+

    beside it        tcp.py           a connection is accepted by the same decision, and handed to `converse`
                     connections.py   which connection gives way where there are too many
                     conversation.py  a socket on a port of its own for one peer (TFTP)
                     binding.py       one service of one instance, with its work in flight
                     failures.py      what a plugin raised: its own failure, or an order to end?

Words.  A *flow* is all datagrams of one peer address, destination and interface.  A *decision* holds for all flows of
which the same can be said.  A *candidate* is a binding that may take their datagrams.  A *binding* is one service of
one *instance*, which is a plugin with options.  A *route* says how to send; a *message* is a payload with its route and
port.  An *outcome* is what became of a datagram; *counts* are numbers by outcome.

The rules, each in one place:

- which datagrams no handler is asked about: `flow.refusal_of`, by the decision (`access.py` has the instance's rules)
- which source and interface a reply has: `addressing.reply_route`
- what an answer may be: `Answers.settle`
- what a refusal of the kernel means: `Sender`

What costs what.  Which decision holds for a flow is found out once and kept in a bounded table, so that the number of
interfaces, addresses and prefixes costs nothing for each datagram; the table is emptied when the interfaces, the
instances or our ports change.  A datagram is *usual* where one instance may take it, no bound needs a look, and the
answer is bytes.  `Port` does the usual case in one loop, without a call more than the handler's own; where the platform
has compiled code (`responder.net.types.AnswerUsual`), that loop is compiled.  Everything else goes the long way through
`_take`, `_ask` and `Answers.settle`: several instances on a port, `rate` and `amplification`, blocking services,
answers that wait, `Reply`, and all of it while somebody watches (`trace`, the query log).

Beside dispatch: `net/linux` and `net/windows` read and write control messages (`udp.py` of each), and
`server/live_ports.py` keeps a port's socket through a reload.

Weak spots, known and accepted:

- A handler that does not wait holds up every port of the process.  It is named in the log, not stopped.
- The usual answers of a burst are sent before its other answers, so answers may leave in another order than their
  requests came.
- A peer seen for the first time costs twice what a known one costs; a flood of new peers drives hardly a known one out
  (`responder.bounded.Memory`; compiled, where two known ones share a place).
- What was sent can't be taken back: an answer is counted as answered when it is decided, and counted anew where sending
  it fails.
- Two programs on a `shared` port can't be told apart where they send the same content (`own.py`).
"""
