"""Programs that nobody would think of.  Both sides make them up while they run, from the same numbers: as soon as one
thing happens in another order, all that follows differs.

They keep away from what tulp decides otherwise: only those tasks are cancelled for which no result is on its way, and
nobody but its parent waits for a task."""
import asyncio

from scenario import Oops, run_once, scenario

MOST_ACTORS = 60


class Program:
    def __init__(self, loop, trace, seed):
        self.loop = loop
        self.trace = trace
        self.silence = 0   # for so many iterations
        self.number = seed
        self.start = loop.time()
        self.futures = [loop.create_future() for _ in range(3)]   # each is replaced when it is done
        self.handles = []
        self.actor_count = 0
        self.roots = []   # names of the tasks that are nobody's children
        self.tasks = {}
        self.waits = {}   # for what each task waits: "turn", "cancellation", a child's name, or something else

    def below(self, limit):
        self.number = (self.number * 1664525 + 1013904223) % 2**32
        return (self.number >> 16) % limit

    def say(self, *words):
        self.silence = 0
        self.trace(*words)

    def new_name(self):
        self.actor_count += 1
        return self.actor_count

    def act(self):
        """Anything that any code may do."""
        action = self.below(7)
        if action == 0:
            self.complete(self.below(3))
        elif action == 1 and self.handles:
            self.handles[self.below(len(self.handles))].cancel()
        elif action == 2 and self.roots:
            self.cancel(self.roots[self.below(len(self.roots))])
        elif self.actor_count == MOST_ACTORS:
            pass
        elif action == 3:
            name = self.new_name()
            self.futures[self.below(3)].add_done_callback(lambda _: self.callback(name))
        elif action == 4:
            self.roots.append(self.create_task())
        elif action == 5:
            when = self.start - 1000 * self.below(10) - self.actor_count
            self.handles.append(self.loop.call_at(when, self.callback, self.new_name()))
        else:
            self.handles.append(self.loop.call_soon(self.callback, self.new_name()))

    def complete(self, index):
        self.futures[index].set_result(None)
        self.futures[index] = self.loop.create_future()

    def cancel(self, name):
        """Only if the task, or the last of those who wait for each other, waits for that, or for its first turn."""
        last = name
        while self.waits[last] in self.tasks:
            last = self.waits[last]
        if self.waits[last] in ("turn", "cancellation"):
            self.waits[last] = "nothing any more"
            self.say("cancel", name, self.tasks[name].cancel())

    def callback(self, name):
        self.say("callback", name)
        for _ in range(self.below(4)):
            self.act()
        if self.below(8) == 0:
            raise Oops("oops")

    def create_task(self):
        name = self.new_name()
        self.waits[name] = "turn"
        self.tasks[name] = self.loop.create_task(self.task(name))
        return name

    async def task(self, name):
        self.say("task", name)
        for _ in range(1 + self.below(4)):
            try:
                self.waits[name] = "something"
                await self.step(name)
            except asyncio.CancelledError:
                self.say("task", name, "is cancelled")
                if self.below(2) == 0:
                    raise
        self.waits[name] = "something"
        self.say("task", name, "ends")

    async def step(self, name):
        action = self.below(6)
        if action == 0:
            await asyncio.sleep(0)
        elif action == 1:
            await self.futures[self.below(3)]
        elif action == 2:
            self.waits[name] = "cancellation"
            await self.loop.create_future()
        elif action == 3:
            self.waits[name] = "cancellation"
            await asyncio.sleep(3600)
        elif action == 4 and self.actor_count < MOST_ACTORS:
            child = self.create_task()
            self.waits[name] = child
            await self.tasks[child]
        else:
            self.act()
        self.say("task", name, "goes on")

    def play(self):
        for _ in range(12):
            self.act()
        for _ in range(20):
            run_once(self.loop)
            self.say("-")
        while self.silence < 2:   # one may mean that a task has ended that never began
            self.silence += 1
            for index in range(3):
                self.complete(index)
            for name in list(self.roots):
                self.cancel(name)
            run_once(self.loop)
        for task in self.tasks.values():
            self.say("cancelled" if task.cancelled() else "ended")


@scenario
def random_programs(loop, trace):
    for seed in range(200):
        trace("program", seed)
        Program(loop, trace, seed).play()
