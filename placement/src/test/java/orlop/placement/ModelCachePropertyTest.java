package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A hundred thousand random steps against a naive runtime that keeps its own books: what it holds,
 * who is pinned, who waits for an answer, what the mesh was told.
 */
class ModelCachePropertyTest {
  private static final long MS = 1_000_000;
  private static final int STEPS = 100_000;
  private static final int MODELS = 40;
  private static final Memory CAPACITY = new Memory(1_000, 600);
  private static final CacheConfig CONFIG =
      new CacheConfig(
          CAPACITY,
          new Memory(20, 10),
          15,
          3,
          12,
          8,
          20_000,
          500,
          1_000,
          1_000,
          30_000,
          500,
          8_000);

  /** A model in the runtime. */
  private static final class Held {
    Memory size;
    boolean loaded;
    boolean unloading;
    boolean stuck;
    boolean doomed;
    boolean pinned;
    long lastUsedNs;

    Held(Memory size) {
      this.size = size;
    }
  }

  private final Map<String, Held> held = new HashMap<>();
  private final Map<String, CopyState> told = new HashMap<>();
  private final Set<String> waiting = new HashSet<>();
  private final List<String> loads = new ArrayList<>();
  private final List<String> unloads = new ArrayList<>();
  private Memory used = Memory.NONE;
  private Memory surprise = Memory.NONE;
  private boolean draining;
  private long now = 1_700_000_000_000L * MS;
  private int evictions;
  private int served;

  private ModelCache cache = cache(Eviction.LRU);

  private ModelCache cache(Eviction eviction) {
    return new ModelCache(
        CONFIG.with(eviction),
        new Usage() {
          @Override
          public long lastUsedNs(String modelId) {
            Held model = held.get(modelId);
            return model == null ? 0 : model.lastUsedNs;
          }

          @Override
          public boolean pinned(String modelId) {
            Held model = held.get(modelId);
            return model != null && model.pinned;
          }

          @Override
          public int copiesElsewhere(String modelId) {
            return modelId.endsWith("7") ? 1 : 0;
          }

          @Override
          public long lastOnlineUseNs(String modelId) {
            return modelId.endsWith("3") ? 0 : lastUsedNs(modelId);
          }
        });
  }

  @ParameterizedTest
  @CsvSource({"1,LRU", "2,GDS", "3,GDSF", "4,DENSITY", "5,ADAPTIVE"})
  void keepsItsPromisesOverRandomSteps(long seed, Eviction eviction) {
    cache = cache(eviction);
    Random random = new Random(seed);
    for (int i = 0; i < STEPS; i++) {
      now += random.nextInt(100) * MS;
      step(randomEvent(random));
    }
    assertTrue(evictions > 1_000, "evictions " + evictions);
    assertTrue(served > 1_000, "served " + served);
    settle();
  }

  @ParameterizedTest
  @CsvSource({"5,LRU", "6,ADAPTIVE"})
  void drainsToNothingNew(long seed, Eviction eviction) {
    cache = cache(eviction);
    Random random = new Random(seed);
    for (int i = 0; i < STEPS / 10; i++) {
      now += random.nextInt(100) * MS;
      step(randomEvent(random));
    }
    step(new Event.Draining());
    draining = true;
    for (int i = 0; i < STEPS / 10; i++) {
      now += random.nextInt(100) * MS;
      step(randomEvent(random));
    }
    settle();
  }

  private Event randomEvent(Random random) {
    String id = "m" + random.nextInt(MODELS);
    Held model = held.get(id);
    if (model != null && model.loaded && !model.unloading && random.nextInt(3) == 0) {
      model.pinned = !model.pinned && random.nextBoolean();
      model.lastUsedNs = now;
    }
    int draw = random.nextInt(100);
    if (draw < 35) {
      long ageMs = random.nextInt(4) == 0 ? random.nextInt(60_000) : 0;
      Event.Purpose[] purposes = Event.Purpose.values();
      Event.Purpose purpose = purposes[Math.max(0, random.nextInt(12) - 9)];
      return new Event.Wanted(id, randomSize(random), now - ageMs * MS, purpose);
    }
    if (draw < 60 && !loads.isEmpty()) {
      return loadReport(loads.get(random.nextInt(loads.size())), random);
    }
    if (draw < 85 && !unloads.isEmpty()) {
      String leaving = unloads.get(random.nextInt(unloads.size()));
      return random.nextInt(5) == 0
          ? new Event.UnloadFailed(leaving, "busy")
          : new Event.UnloadDone(leaving);
    }
    return switch (draw % 8) {
      case 0 -> new Event.Unwanted(id);
      case 1 -> random.nextInt(4) == 0 ? new Event.Forgotten(id) : new Event.Tick();
      case 2 -> new Event.UnloadDone("nobody");
      case 3 -> random.nextInt(8) == 0 ? new Event.Reconfigured() : new Event.Tick();
      case 4 -> random.nextInt(8) == 0 ? new Event.Lost(id) : new Event.Tick();
      default -> new Event.Tick();
    };
  }

  private static Event loadReport(String id, Random random) {
    return switch (random.nextInt(12)) {
      case 0 -> new Event.LoadFailed(id, "reset", Fault.TRANSIENT);
      case 1 -> new Event.LoadFailed(id, "bad", Fault.values()[random.nextInt(4)]);
      case 2 -> new Event.LoadDone(id, new Memory(2_000, 0));
      default -> new Event.LoadDone(id, randomSize(random));
    };
  }

  private static Memory randomSize(Random random) {
    return switch (random.nextInt(10)) {
      case 0 -> Memory.NONE;
      case 1 -> new Memory(1_500, 0);
      case 2 -> new Memory(random.nextInt(800), random.nextInt(500));
      default -> new Memory(10 + random.nextInt(200), random.nextInt(120));
    };
  }

  private void step(Event event) {
    before(event);
    List<Action> actions = cache.step(event, now);
    List<String> answered = new ArrayList<>();
    for (Action action : actions) {
      switch (action) {
        case Action.Load(String id) -> load(id);
        case Action.Unload(String id) -> unload(id);
        case Action.Publish(String id, CopyState state) -> tell(id, state);
        case Action.Answer(String id, Action.Outcome outcome) -> {
          assertFalse(answered.contains(id), () -> id + " is answered twice: " + actions);
          answered.add(id);
          answer(id, outcome);
        }
      }
    }
    check();
  }

  private void before(Event event) {
    switch (event) {
      case Event.Wanted want -> waiting.add(want.modelId());
      case Event.LoadDone(String id, Memory size, long _) -> {
        Held model = heldOrFail(id);
        loads.remove(id);
        used = used.minus(model.size).plus(size);
        surprise = surprise.plus(size.minus(model.size));
        model.size = size;
        model.loaded = true;
      }
      case Event.LoadFailed failure -> {
        loads.remove(failure.modelId());
        used = used.minus(heldOrFail(failure.modelId()).size);
        held.remove(failure.modelId());
      }
      case Event.UnloadDone(String id) -> {
        if (unloads.remove(id)) {
          used = used.minus(heldOrFail(id).size);
          held.remove(id);
        }
      }
      case Event.UnloadFailed(String id, String _) -> {
        unloads.remove(id);
        heldOrFail(id).stuck = true;
      }
      case Event.Unwanted(String id) -> doom(id);
      case Event.Forgotten(String id) -> doom(id);
      case Event.Reconfigured() -> {}
      case Event.Lost(String id) -> {
        Held model = held.get(id);
        if (model != null) {
          model.pinned = false;
        }
        doom(id);
      }
      case Event.Draining() -> {}
      case Event.Tick() -> {}
    }
  }

  private void doom(String id) {
    Held model = held.get(id);
    if (model != null) {
      model.doomed = true;
    }
  }

  private Held heldOrFail(String id) {
    Held model = held.get(id);
    assertNotNull(model, id + " is not in the runtime");
    return model;
  }

  private void load(String id) {
    assertFalse(held.containsKey(id), id + " is loaded twice");
    assertFalse(draining, id + " is loaded while draining");
    held.put(id, new Held(cache.size(id)));
    used = used.plus(cache.size(id));
    loads.add(id);
    assertTrue(loads.size() <= CONFIG.maxConcurrentLoads());
  }

  private void unload(String id) {
    Held model = heldOrFail(id);
    assertTrue(model.loaded, id + " is unloaded while it loads");
    assertFalse(unloads.contains(id), id + " is unloaded twice");
    assertFalse(model.pinned, id + " is unloaded while it is pinned");
    assertTrue(!model.unloading || model.stuck, id + " is unloaded again without need");
    evictions += model.doomed || model.unloading ? 0 : 1;
    model.unloading = true;
    unloads.add(id);
  }

  private void tell(String id, @Nullable CopyState state) {
    CopyState before = state == null ? told.remove(id) : told.put(id, state);
    assertFalse(state == null ? before == null : state.equals(before), id + " is told twice");
  }

  private void answer(String id, Action.Outcome outcome) {
    waiting.remove(id);
    if (outcome instanceof Action.Outcome.Ready) {
      Held model = heldOrFail(id);
      assertTrue(model.loaded && !model.unloading, id + " is said to be ready");
      model.doomed = false;
      served++;
    }
  }

  private void check() {
    assertEquals(used, cache.used());
    assertEquals(held.size(), cache.residents());
    assertEquals(told, cache.states());
    assertTrue(cache.residents() <= CONFIG.maxResidents());
    assertTrue(
        used.fitsIn(CAPACITY.plus(surprise)), () -> "took " + used + ", surprise " + surprise);
    Memory kept = Memory.NONE;
    for (Held model : held.values()) {
      kept = model.unloading ? kept : kept.plus(model.size);
    }
    assertTrue(kept.fitsIn(CAPACITY), "keeps " + kept);
    for (String id : waiting) {
      CopyState state = told.get(id);
      assertTrue(
          state instanceof CopyState.Loading || state instanceof CopyState.Unloading,
          () -> id + " waits for nothing, state " + state);
    }
    held.forEach(
        (id, model) -> {
          CopyState state = told.get(id);
          boolean agrees =
              model.unloading
                  ? state instanceof CopyState.Unloading
                  : model.loaded
                      ? state instanceof CopyState.Loaded
                      : state instanceof CopyState.Loading;
          assertTrue(agrees, () -> id + " is told as " + state);
        });
  }

  /**
   * When all reports come in and nothing is pinned, everybody is answered and all comes to rest.
   */
  private void settle() {
    held.values().forEach(model -> model.pinned = false);
    for (int round = 0; round < 400; round++) {
      for (String id : List.copyOf(loads)) {
        step(new Event.LoadDone(id, cache.size(id)));
      }
      for (String id : List.copyOf(unloads)) {
        step(new Event.UnloadDone(id));
      }
      now += 500 * MS;
      step(new Event.Tick());
    }
    assertEquals(Set.of(), waiting);
    assertEquals(0, cache.loadsQueued());
    assertEquals(0, cache.unloadsFailing());
    assertTrue(used.fitsIn(CAPACITY));
    told.forEach(
        (id, state) ->
            assertTrue(
                state instanceof CopyState.Loaded || state instanceof CopyState.FailedToLoad,
                () -> id + " stays " + state));
  }
}
