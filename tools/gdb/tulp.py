"""gdb commands for the tasks of tulp, in a live process or in a core file.

    (gdb) source .../tulp.py
    (gdb) tulp-tasks            every task: number, name, state, and what it waits for
    (gdb) tulp-bt NAME          the stack of the task with that name or number; `tulp-bt all`: of every task

The library's own debug information has to be there (-g).  Nothing is called in the process, and no register is changed: a
parked stack is shown as what comes behind the newest frame of the selected thread, by an unwinder that reads the registers
which Boost.Context has saved.
"""
import re

import gdb
from gdb.unwinder import Unwinder, register_unwinder

# Where Boost.Context (1.74 to 1.88) keeps registers, counted from the saved stack pointer, and where that stood before.
LAYOUTS = {
    "i386:x86-64": {"pc": ("rip", 0x38), "sp": ("rsp", 0x40),
                    "kept": {"r12": 0x08, "r13": 0x10, "r14": 0x18, "r15": 0x20, "rbx": 0x28, "rbp": 0x30}},
    "aarch64": {"pc": ("pc", 0xa0), "sp": ("sp", 0xb0), "kept": {f"x{19 + i}": 0x40 + 8 * i for i in range(12)}},
}

# What a task waits for, by the class of its Park.
WISHES = {"TimerPark": "its timer", "YieldPark": "its next turn", "YieldAwaiter": "its next turn",
          "Getter": "an item from a queue", "Putter": "room in a queue", "ReadPark": "data to read",
          "FeedPark": "room to write", "ChannelPark": "its datagram socket", "ThreadPark": "a call in another thread",
          "ConnectRace": "a connection"}


def layout_of(architecture):
    if architecture.name() not in LAYOUTS:
        raise gdb.GdbError(f"tulp: parked stacks cannot be read on {architecture.name()}")
    return LAYOUTS[architecture.name()]


def text_of(string):
    """A std::string, without the help of libstdc++'s printers."""
    length = int(string["_M_string_length"])
    return string["_M_dataplus"]["_M_p"].string("utf-8", "replace", length=length) if length else ""


class Object:
    """An object of a class, read by the places of its members.  gdb would look for its real class at each access, and warn
    that it does not know those with a lambda in their names."""

    def __init__(self, address, kind):
        self.address = address
        self.kind = kind

    def __getitem__(self, name):
        return self.find(self.address, self.kind, name)

    def find(self, address, kind, name):
        for field in kind.fields():
            if not hasattr(field, "bitpos"):   # static
                continue
            at = address + field.bitpos // 8
            if field.is_base_class:
                found = self.find(at, field.type.strip_typedefs(), name)
                if found is not None:
                    return found
            elif field.name == name:
                return gdb.Value(at).cast(field.type.pointer()).dereference()
        return None


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class ParkedStack(Unwinder):
    """While it is switched on, the newest frame seems to have been called from a parked one."""

    def __init__(self):
        super().__init__("tulp parked stack")
        self.context = None
        self.newest_sp = None

    def __call__(self, pending_frame):
        if self.context is None:
            return None
        layout = layout_of(pending_frame.architecture())
        sp = pending_frame.read_register(layout["sp"][0])
        if int(sp) != self.newest_sp:
            return None
        memory = self.context.cast(gdb.lookup_type("unsigned long").pointer())
        # As if it stood just inside of the parked one, for gdb refuses stacks that do not grow one way.
        info = pending_frame.create_unwind_info(FrameId(self.context, pending_frame.read_register(layout["pc"][0])))
        for register, offset in [layout["pc"], *layout["kept"].items()]:
            info.add_saved_register(register, memory[offset // 8])
        register, size = layout["sp"]
        info.add_saved_register(register, gdb.Value(int(self.context) + size).cast(memory.dereference().type))
        return info

    def backtrace(self, context):
        """What `backtrace` prints of the flow that stands at `context`."""
        gdb.invalidate_cached_frames()
        frame = gdb.newest_frame()
        self.newest_sp = int(frame.read_register(layout_of(frame.architecture())["sp"][0]))
        self.context = context
        gdb.invalidate_cached_frames()
        try:
            text = gdb.execute("backtrace", to_string=True)
        finally:
            self.context = None
            gdb.invalidate_cached_frames()
        frames = re.split(r"^(?=#\d+ )", text, flags=re.MULTILINE)[2:]   # without the newest one, which is the thread's
        return "".join(re.sub(r"^#\d+ +", f"#{i:<2} ", frame, count=1) for i, frame in enumerate(frames))


PARKED_STACK = ParkedStack()
register_unwinder(None, PARKED_STACK, replace=True)


class Task:
    def __init__(self, control):
        self.control = control
        self.number = int(control["number_"])
        name = control["name_"].address.cast(gdb.lookup_type("std::string").pointer().pointer()).dereference()
        self.name = text_of(name.dereference()) if int(name) else f"Task-{self.number}"
        self.fiber = control["fiber_"]
        self.is_coroutine = not int(control["pool_"])

    def thread(self):
        """The thread that runs on the task's stack, or none."""
        if not int(self.fiber):
            return None
        stack = self.fiber["stack_"]
        low, size = int(stack["low"]), int(stack["size_bytes"])
        selected = gdb.selected_thread()
        try:
            for thread in gdb.selected_inferior().threads():
                thread.switch()
                frame = gdb.newest_frame()
                if low <= int(frame.read_register(layout_of(frame.architecture())["sp"][0])) < low + size:
                    return thread
        finally:
            selected.switch()
        return None

    def park(self):
        """What the task waits for, with its real class; none if it does not."""
        park = self.control["park_"]
        if not int(park) or bool(self.control["is_queued_"]):
            return None
        return park.cast(park.dynamic_type).dereference()

    def wish(self, tasks):
        park = self.park()
        name = str(park.type.strip_typedefs()).rpartition("::")[2]
        if name == "PlainEntry":
            holder = int(park["holder_"]) and int(park["holder_"].dereference())
            held = [f", held by task '{task.name}'" for task in tasks if holder and task.number == holder]
            return f"{park['what_'].string()} {hex(int(park['queue_'].address))}{''.join(held)}"
        if name == "FuturePark":
            awaited = int(park["future_"].address)
            found = [f"task '{task.name}'" for task in tasks if int(task.control["state_"].address) == awaited]
            return found[0] if found else f"a future {hex(awaited)}"
        if name == "FdPark":
            direction = "writable" if int(park["direction_"]) else "readable"
            return f"descriptor {int(park['fd_'])} to be {direction}"
        return WISHES.get(name, name)

    def state(self, tasks):
        if self.is_coroutine:
            return f"is a coroutine, waits for {self.wish(tasks)}" if self.park() is not None else "is a coroutine"
        if not int(self.fiber):
            return "has not begun"
        thread = self.thread()
        if thread is not None:
            return f"runs in thread {thread.num}"
        return f"waits for {self.wish(tasks)}" if self.park() is not None else "is ready to go on"

    def backtrace(self):
        if self.is_coroutine or not int(self.fiber):
            return ""
        thread = self.thread()
        if thread is None:
            return PARKED_STACK.backtrace(self.fiber["context_"])
        selected = gdb.selected_thread()
        try:
            thread.switch()
            return gdb.execute("backtrace", to_string=True)
        finally:
            selected.switch()


def all_tasks():
    symbol = gdb.lookup_global_symbol("tulp_live_loops")
    if symbol is None:
        raise gdb.GdbError("tulp: this is no program that uses tulp, or libtulp has no debug information")
    if not gdb.selected_thread():
        raise gdb.GdbError("tulp: there is neither a process nor a core file")
    control = gdb.lookup_type("tulp::detail::TaskControl")
    hook_offset = next(base.bitpos // 8 for base in control.fields() if base.is_base_class and "ListHook" in base.name)
    loops = symbol.value()
    if not int(loops):
        return
    storage = loops.dereference()["_M_impl"]
    at = storage["_M_start"]
    while int(at) != int(storage["_M_finish"]):
        head = at.dereference()["tasks_"]["head_"]
        hook = head["next_"]
        while int(hook) != int(head.address):
            yield Task(Object(int(hook) - hook_offset, control))
            hook = hook["next_"]
        at += 1


class TulpTasks(gdb.Command):
    """List the tasks of tulp: number, name, state, and what each waits for."""

    def __init__(self):
        super().__init__("tulp-tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        del argument, from_tty
        tasks = list(all_tasks())
        for task in tasks:
            print(f"{task.number:>4}  {task.name:<20}  {task.state(tasks)}")
        print(f"{len(tasks)} task{'s' if len(tasks) != 1 else ''}")


class TulpBacktrace(gdb.Command):
    """Print the stack of a task of tulp, parked or not: tulp-bt NAME|NUMBER|all"""

    def __init__(self):
        super().__init__("tulp-bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        del from_tty
        wanted = argument.strip()
        if not wanted:
            raise gdb.GdbError("usage: tulp-bt NAME|NUMBER|all")
        tasks = list(all_tasks())
        chosen = [task for task in tasks if wanted in ("all", task.name, str(task.number))]
        if not chosen and wanted != "all":
            raise gdb.GdbError(f"tulp: there is no task '{wanted}'")
        for task in chosen:
            print(f"task '{task.name}' {task.state(tasks)}")
            print(task.backtrace(), end="")


TulpTasks()
TulpBacktrace()
