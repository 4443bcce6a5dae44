"""One seed's story from beginning to end: who there is, what they say, what happens to them; then everything heals, and the history is complete."""

from uuid import UUID

from tests.faults import history
from tests.faults.simulation.nemesis import Nemesis
from tests.faults.simulation.people import Device
from tests.faults.simulation.world import DAY_MS, World

# With faults; without any; without any and nearly silent, so that who misses one message waits for a sweep; and with people and devices that come
# and go while everybody talks at once.
FAULTS, CALM, WHISPER, CHANGES = MOODS = ("faults", "calm", "whisper", "changes")
MOOD_WEIGHTS = (74, 10, 6, 10)
HEALING_SECONDS = 240.0
ENDING_SECONDS = 120.0
# Half of them are too large to ride in a hint.
SIZES = (80, 120, 700, 900)
# In a calm story nobody comes back at the end before every sweep has had its turn: who had to wait for it waited too long.
QUIET_SECONDS = 20.0
WHISPERS = 4
SILENCE_SECONDS = 14.0
# An ack is in the store after so long, when nothing is wrong and the device is as slow as the slowest.
SETTLED_SECONDS = 5.0


class Story:
    """Everything that is decided before time begins is decided here, from the seed."""

    def __init__(self, seed: int, mood: str | None = None) -> None:
        """`mood` is the seed's choice by default."""
        self.world = World(seed)
        self.nemesis = Nemesis(self.world)
        self._chance = self.world.chance
        drawn = self._chance.choices(MOODS, MOOD_WEIGHTS)[0]
        self.mood = mood or drawn
        self.is_calm = self.mood in (CALM, WHISPER)
        self._lasts = self._chance.uniform(3.0, 12.0)
        self._people: list[UUID] = []
        self._bursts: list[float] = []

    def run(self) -> list[history.AnyEvent]:
        """The history. Ends within bounded virtual time, whatever is broken."""
        world = self.world
        with world.installed():
            try:
                world.at(history.Began, seed=world.seed, profile=self.mood, store="memory")
                self._populate()
                self._plan()
                self._live()
                self._end()
            finally:
                world.end()
        return world.history

    @property
    def kinds(self) -> set[str]:
        """The kinds of fault that happened."""
        return {event.kind for event in self.world.history if isinstance(event, history.FaultOn)}

    # --- before ----------------------------------------------------------------------------------------------------------------

    def _populate(self) -> None:
        world, chance = self.world, self._chance
        self._people = [world.person() for _ in range(4 if self.mood == CHANGES else chance.randint(2, 4))]
        for index, user_id in enumerate(self._people):
            for number in range(2 if index == 0 or chance.random() < 0.2 else 1):
                device = world.register(user_id, f"{'ABCD'[index]}{number + 1}")
                self._describe(device)
        world.found("group", self._people[: max(2, len(self._people) - chance.randint(0, 1))])
        world.found("direct", self._people[:2])
        for number in range(chance.randint(2, 3)):
            worker = world.hire(f"worker{number + 1}")
            if not self.is_calm and chance.random() < 0.2:
                worker.ahead_s = chance.uniform(-300, 300)
                self.nemesis.handicap("wrong clock", worker.name)
            worker.start()
        world.network.pace = 1.0 if self.mood == WHISPER else chance.choice([1.0, 1.0, 3.0, 10.0])

    def _describe(self, device: Device) -> None:
        chance = self._chance
        if self.is_calm:
            return
        if chance.random() < 0.3:
            device.slowness = chance.uniform(0.2, 2.0)
            self.nemesis.handicap("slow device", device.name)
        if chance.random() < 0.1:
            device.clock_ahead_ms = int(chance.uniform(-600_000, 200_000))
            self.nemesis.handicap("wrong clock", device.name)

    def _plan(self) -> None:
        world, chance = self.world, self._chance
        if self.mood == WHISPER:
            self._plan_whispers()
            return
        for _, device in sorted(world.devices.items()):
            absent = not self.is_calm and chance.random() < 0.25
            world.later(chance.uniform(0.5, 1.5 * self._lasts) if absent else chance.uniform(0.0, 0.4), device.start)
        for _ in range(chance.randint(3, 9)):
            self._plan_burst(
                self._bursts[-1] if self._bursts and chance.random() < 0.3 else chance.uniform(0.3, self._lasts)
            )
        if self.is_calm:
            if chance.random() < 0.7:
                self._plan_clean_reconnects()
            return
        if self.mood == CHANGES:
            for at in list(self._bursts):
                self._plan_burst(at)
            self._plan_changes(2 * len(self._bursts))
            return
        for _ in range(chance.randint(1, 5)):
            kind = chance.choice(sorted(self.nemesis.kinds))
            lasts = chance.choice([0.2, 1.0, 3.0, 8.0, 25.0 if kind != "stop" else 130.0])
            self.nemesis.plan(kind, chance.uniform(0.3, self._lasts), lasts)
        self._plan_changes(chance.choice([0, 0, 1, 2, 4, 6]))

    def _plan_whispers(self) -> None:
        """A few words, one after the other, each just when somebody may fail to hear it; then silence for longer than anybody may wait."""
        world, chance = self.world, self._chance
        for _, device in sorted(world.devices.items()):
            world.later(chance.uniform(0.0, 0.4), device.start)
        self._lasts = 2.0 + WHISPERS * SILENCE_SECONDS
        # The longer its answer is on its way, the more is said after the store was read.
        world.network.slow_answers = 12.0
        for number in range(WHISPERS):
            at = 2.0 + number * SILENCE_SECONDS
            speaker, listener = chance.sample(sorted(world.devices.values(), key=lambda device: device.device_id), 2)
            if chance.random() < 0.5:
                world.later(at, self._say, speaker, world.conversations[0], SIZES[-1])
                world.later(at + chance.uniform(0.004, 0.03), self._say, speaker, world.conversations[0], SIZES[-1])
            else:
                world.later(at, self._speak_when_back, speaker, listener)

    def _speak_when_back(self, speaker: Device, listener: Device) -> None:
        """The listener comes back; something is said about when it has looked and, were it to listen only then, does not listen yet."""
        moment = self._chance.uniform(0.06, 0.12)
        listener.when_ready.append(
            lambda: self.world.later(moment, self._say, speaker, self.world.conversations[0], 80)
        )
        listener.cut()

    def _plan_burst(self, at: float) -> None:
        """Somebody says a few things, quickly."""
        world, chance = self.world, self._chance
        self._bursts.append(at)
        device = chance.choice(sorted(world.devices.values(), key=lambda device: device.device_id))
        conversation_id = world.conversations[0] if self.mood == CHANGES else chance.choice(world.conversations)
        for _ in range(chance.randint(1, 6)):
            size = chance.choice(SIZES)
            world.later(at, self._say, device, conversation_id, size)
            at += chance.choice([0.0, 0.0, 0.005, 0.05])

    def _say(self, device: Device, conversation_id: UUID, size: int) -> None:
        if not device.is_gone and self.world.is_member(device.user_id, conversation_id):
            device.say(conversation_id, size)

    def _plan_clean_reconnects(self) -> None:
        world, chance = self.world, self._chance
        for _, device in sorted(world.devices.items()):
            for _ in range(chance.randint(0, 4)):
                # Back just when there is something to miss between looking and listening.
                world.later(max(0.5, chance.choice(self._bursts) - chance.uniform(0.1, 1.0)), device.cut)

    def _plan_changes(self, count: int) -> None:
        """Changes of members and devices, each about when somebody begins to talk."""
        world, chance = self.world, self._chance
        group = world.conversations[0]
        owner = min(world.devices.values(), key=lambda device: device.device_id)
        for _ in range(count):
            user_id = chance.choice(self._people)
            at = max(0.3, chance.choice(self._bursts) + chance.uniform(-0.1, 0.2))
            what = chance.choice(["link", "unlink", "add", "remove"])
            if what == "link":
                world.later(at, world.link, user_id)
            elif what == "unlink":
                world.later(at, self._unlink_one_of, user_id)
            elif user_id != owner.user_id:
                world.later(at, world.add if what == "add" else world.remove, group, owner, user_id)

    def _unlink_one_of(self, user_id: UUID) -> None:
        rows = [row for row in self.world.server.tables.devices_of(user_id) if row.active]
        if len(rows) > 1:
            self.world.unlink(self.world.devices[rows[-1].id])

    # --- while it happens ------------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        world = self.world
        beginning = world.scheduler.now
        world.scheduler.run(lambda: False, deadline=beginning + self._lasts + 0.5)
        quiet = self.nemesis
        if self._chance.random() < 0.7:
            world.scheduler.run(lambda: quiet.is_quiet, deadline=beginning + self._lasts + 140)
        if not self.is_calm and self._chance.random() < 0.1:
            self._pass_days()
        self.nemesis.heal()
        self.healed_at = world.scheduler.now
        self._say_last_words()
        if self.is_calm:
            world.scheduler.run(lambda: False, deadline=self.healed_at + QUIET_SECONDS)
        world.scheduler.run(self._is_settled, deadline=self.healed_at + HEALING_SECONDS)

    def _say_last_words(self) -> None:
        """One more message everywhere: the log tells of devices linked and unlinked before the next message only."""
        world = self.world
        for conversation_id in world.conversations:
            members = sorted(member.user_id for member in world.server.tables.stays(conversation_id))
            devices = [row for user_id in members for row in world.server.tables.devices_of(user_id) if row.active]
            if devices:
                world.devices[devices[0].id].say(conversation_id, 80)

    def _pass_days(self) -> None:
        """The whole installation is off for days."""
        world = self.world
        self.nemesis.heal()
        for worker in world.workers:
            worker.kill()
        world.days_passed_ms += self._chance.randint(1, 9) * DAY_MS
        for worker in world.workers:
            worker.start()

    def _is_settled(self) -> bool:
        world = self.world
        if world.scheduler.steps % 16 or world.server.tables.outbox:
            return False
        return all(device.is_idle for device in world.devices.values())

    # --- the end ---------------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Every device that is left comes back twice with a fresh socket, and hears to the end what there is."""
        world = self.world
        for _ in range(2):
            wanted = {}
            for _, device in sorted(world.devices.items()):
                if not world.is_unlinked(device.device_id):
                    device.cut()
                    wanted[device.device_id] = device.empties + 1
            self._wait_for_empties(wanted)
        world.scheduler.run(self._is_settled, deadline=world.scheduler.now + ENDING_SECONDS)
        world.scheduler.run(lambda: False, deadline=world.scheduler.now + SETTLED_SECONDS + 1)
        self._dump()

    def _wait_for_empties(self, wanted: dict[int, int]) -> None:
        world = self.world

        def all_empty() -> bool:
            return not world.scheduler.steps % 16 and all(
                world.devices[id_].empties >= count or world.devices[id_].is_gone for id_, count in wanted.items()
            )

        world.scheduler.run(all_empty, deadline=world.scheduler.now + ENDING_SECONDS)

    def _dump(self) -> None:
        world, tables = self.world, self.world.server.tables
        for (conversation_id, seq), row in sorted(tables.ledger.items()):
            world.at(
                history.LedgerRow,
                conversation=str(conversation_id),
                seq=seq,
                message_id=str(row.message_id),
                mid=str(row.client_message_id),
                sender_device="0" if row.kind == "system" else str(row.sender_device_id),
                kind=row.kind,
            )
        for member in tables.members:
            world.at(
                history.StayRow,
                conversation=str(member.conversation_id),
                user=str(member.user_id),
                joined_seq=member.joined_seq,
                left_seq=member.left_seq,
                last_read_seq=member.last_read_seq,
            )
        for _, device in sorted(tables.devices.items()):
            world.at(history.DeviceRow, device=str(device.id), user=str(device.user_id), active=device.active)
        world.at(history.StoreSearched, **self._acknowledged_rows())
        last = max((row.position for row in tables.ledger.values()), default=0)
        reached = not tables.outbox and world.server.oldest_open() > last
        world.at(history.Dumped, backlog=len(tables.outbox), watermark_reached=reached)

    def _acknowledged_rows(self) -> dict[str, int]:
        """How many rows of active devices were acknowledged on their last socket or before it, and how many of those still have their content."""
        acked = {
            (event.device, int(message_id))
            for event in self.world.history
            if isinstance(event, history.Acked) and event.at < self.world.scheduler.now - SETTLED_SECONDS
            for message_id in event.message_ids
        }
        rows = [
            row
            for mailbox, rows in self.world.kept._mailboxes.items()
            for (_, _, message_id), row in rows.items()
            if (str(mailbox.device_id), message_id) in acked
            and self.world.server.tables.devices[mailbox.device_id].active
        ]
        return {"acknowledged": len(rows), "with_content": sum(bool(row.parcel) for row in rows)}
