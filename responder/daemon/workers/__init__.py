"""Several processes that serve the same ports: `[daemon] workers = 4`.

The *parent* answers no datagram.  It opens every port once for each *worker* (SO_REUSEPORT: the kernel chooses one by
the addresses and ports of peer and destination, so that a peer stays with a worker), starts the workers and hands each
its sockets.  It keeps the sockets open itself: a worker that dies loses what it was working on, but not its queue,
which the process that is started in its place gets.  Nobody needs the right to bind a port again, so the parent becomes
`user` before it starts the workers.  TCP listeners are shared: whichever worker has time accepts.

    parent.py           all workers: started, reloaded, stopped, and what they say summed
    worker.py           one worker, over the lives of its processes: the state machine
    process.py          one process: started, handed sockets, asked, killed
    program.py          what runs in that process
    control.py          the control channel of a daemon with workers
    combined_status.py  several statuses as one

What belongs to the whole daemon is the parent's:

    control, metrics  the parent answers: the workers' statuses summed, their traces mixed.  What a dead worker had
                      counted stays counted, up to its last second
    ready             when every worker is.  A worker that is killed while it starts is started again; one that says
                      that it can't serve ends the start, as it does without workers
    signals           SIGTERM and SIGHUP are for the parent, which passes them on; workers ignore them
    reload            all or none (`responder.daemon.reload`): the parent opens what is new, every worker prepares, and
                      when all could each changes over.  A worker that dies meanwhile serves what is in force when it
                      is back
    watchdog          told while every running worker answers
    a worker dies     the others notice nothing.  It is started again, after longer and longer pauses; meanwhile its
                      share of the peers waits in its queue, and what the queue has no room for is lost
    a worker hangs    one that says nothing for `HUNG` seconds is killed, and so started again
    the parent dies   the workers say their goodbyes and end; one that hangs is ended by a thread of its own

`responder.config.divisible` says what is refused, and what each worker gets of a bound.  A worker counts by itself what
a plugin counts by itself.  Other platforms than Linux are refused, and so are sockets from the service manager, which
passes on one where each worker needs its own.  The query log has one line a write, as pipes and files keep whole (up to
4096 bytes on a pipe); captures are written by the command that asks for them.
"""
