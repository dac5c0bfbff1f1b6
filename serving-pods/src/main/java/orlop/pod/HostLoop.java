package orlop.pod;

import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import orlop.placement.Action;
import orlop.placement.CacheConfig;
import orlop.placement.CopyState;
import orlop.placement.Event;
import orlop.placement.EvictionPolicy;
import orlop.placement.Fault;
import orlop.placement.Hints;
import orlop.placement.Keeps;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.ModelCache;
import orlop.placement.Placer;
import orlop.pod.ModelHost.Message;
import orlop.pod.ModelHost.Waiter;
import orlop.registry.PodSession;
import orlop.registry.Registry;

/**
 * The host thread: feeds the {@link ModelCache} with what happens and carries out what it decides.
 *
 * <p>It never waits for anything but its queue: pulls, loads and unloads run on virtual threads
 * (native loading on the {@link Loader}'s own few threads) and report back. All fields are owned by
 * the host thread.
 */
final class HostLoop implements Runnable {
  /*
   * Order of things. A model is in the slots from the moment its load is reported until the cache
   * lets it go, so a waiter that hears Ready can pin at once. A slot that leaves is taken out and
   * shut before anybody waits for its pins: a call either pinned in time, or asks the host again
   * and is queued behind the unload. Whoever finds a copy lost takes it out of the slots at once
   * and on his own thread, so what is to be closed is never looked for there, but in staying and
   * leaving.
   *
   * Bounds. Wishes of calls are refused when the queue is full. Reports of loads and unloads wait
   * for room, on virtual threads, no more of them than actions under way. The registry's news is
   * one flag.
   */
  private static final System.Logger LOG = System.getLogger(HostLoop.class.getName());
  private static final int BATCH = 256;
  private static final int FEW_WAITERS = 256;
  private static final int REMEMBERED_SIZES = 10_000;
  private static final long POLL_MS = 50;
  private static final long TICK_NS = 200_000_000;
  private static final long CHECK_NS = 50_000_000;
  private static final long KEEPS_NS = 500_000_000;
  private static final Action.Outcome UNREGISTERED =
      new Action.Outcome.Failed(Fault.PERMANENT, "the model was unregistered", Long.MAX_VALUE);

  private final ModelHost host;
  private final PodConfig config;
  private final Registry registry;
  private final PodSession session;
  private final PodRecord record;
  private final Loader loader;
  private final Metrics metrics;
  private final EpochClock clock;
  private final ModelCache cache;
  private final Backlog backlog;

  private final Map<String, Model> models = new HashMap<>();
  private final Map<String, List<Waiter>> waiters = new HashMap<>();

  /** Models whose size is being asked for, with their last use. */
  private final Map<String, Message.Want> sizing = new HashMap<>();

  /** Models whose unload will be no eviction: somebody asked for it, or they are lost. */
  private final Set<String> askedToGo = new HashSet<>();

  /** The copies that the cache holds as loaded; a lost one until that is heard here. */
  private final Map<String, Slot<Held>> staying = new HashMap<>();

  /** The copies that were told to go, until they are closed. */
  private final Map<String, Slot<Held>> leaving = new HashMap<>();

  /** Threads that load, to be called off when nobody can want the model any more. */
  private final Map<String, Thread> loading = new HashMap<>();

  /** Since when models stand in line to be loaded. */
  private final Map<String, Long> queuedNs = new HashMap<>();

  private final Map<String, Memory> measured = new Sizes();
  private long lastTickNs;
  private long lastCheckNs;
  private long lastKeepsNs;
  private boolean keepsStale;

  HostLoop(
      ModelHost host,
      PodConfig config,
      Registry registry,
      PodSession session,
      PodRecord record,
      Loader loader,
      EvictionPolicy policy,
      Metrics metrics,
      EpochClock clock) {
    this.host = host;
    this.config = config;
    this.registry = registry;
    this.session = session;
    this.record = record;
    this.loader = loader;
    this.metrics = metrics;
    this.clock = clock;
    this.backlog = new Backlog(config.loadingConcurrency());
    this.cache = new ModelCache(cacheConfig(config), policy, host.usage());
  }

  private static CacheConfig cacheConfig(PodConfig config) {
    CacheConfig d = CacheConfig.defaults(config.capacity().minus(config.headroom()));
    return new CacheConfig(
            d.capacity(),
            d.unknownSize(),
            d.maxResidents(),
            config.loadingConcurrency(),
            d.maxQueued(),
            d.maxFailed(),
            d.queueTimeoutMs(),
            d.graceMs(),
            d.liveWindowMs(),
            Math.min(d.retryFirstMs(), config.loadFailureExpiryMs()),
            config.loadFailureExpiryMs(),
            d.unloadRetryFirstMs(),
            d.unloadRetryMaxMs())
        .with(config.evictionPolicy());
  }

  @Override
  public void run() {
    List<Message> batch = new ArrayList<>(BATCH);
    while (!host.stopped()) {
      try {
        Message first = host.queue().poll(POLL_MS, TimeUnit.MILLISECONDS);
        if (first != null) {
          batch.add(first);
          host.queue().drainTo(batch, BATCH - 1);
        }
        for (Message message : batch) {
          handle(message);
        }
        everyNowAndThen(clock.nowNs());
      } catch (InterruptedException e) {
        break;
      } catch (RuntimeException | Error e) {
        // One bad step must not take the pod's memory out of everybody's hands.
        LOG.log(Level.ERROR, "host step failed in pod " + config.id(), e);
      } finally {
        batch.clear();
      }
    }
    answerAll(new Action.Outcome.Draining());
  }

  private void handle(Message message) {
    switch (message) {
      case Message.Want want -> want(want);
      case Message.Sized(String id, long bytes) -> {
        Message.Want asked = sizing.remove(id);
        if (asked != null) {
          step(new Event.Wanted(id, memory(bytes), resolve(asked.lastUsedNs()), asked.purpose()));
        }
      }
      case Message.Loaded(Held held) -> loaded(held);
      case Message.Lost(String id, Slot<Held> slot) -> {
        // It may have been told to go meanwhile, and a new copy may stand in its place.
        if (staying.get(id) == slot) {
          step(new Event.Lost(id));
        }
      }
      case Message.Happened(Event event) -> step(event);
    }
  }

  private void want(Message.Want want) {
    Model model = want.model();
    String id = model.id();
    Waiter waiter = want.waiter();
    if (waiter != null) {
      await(id, waiter);
    }
    models.putIfAbsent(id, model);
    Memory size = expectedSize(model);
    if (!size.equals(Memory.NONE) || cache.state(id) != null || cache.draining()) {
      step(new Event.Wanted(id, size, resolve(want.lastUsedNs()), want.purpose()));
      return;
    }
    Message.Want asked = sizing.get(id);
    sizing.put(id, asked == null ? want : both(asked, want));
    if (asked == null) {
      Thread.startVirtualThread(() -> askSize(model));
    }
  }

  /** Two wishes for one model: the later use, and people before batches. */
  private static Message.Want both(Message.Want one, Message.Want other) {
    boolean batch = one.purpose() == Event.Purpose.BATCH && other.purpose() == Event.Purpose.BATCH;
    return new Message.Want(
        one.model(),
        Math.max(one.lastUsedNs(), other.lastUsedNs()),
        batch ? Event.Purpose.BATCH : Event.Purpose.ONLINE,
        null);
  }

  /**
   * Callers that give up and come again while a load takes long would fill the memory, so at each
   * doubling those that are gone are let go.
   */
  private void await(String id, Waiter waiter) {
    List<Waiter> list = waiters.computeIfAbsent(id, k -> new ArrayList<>());
    if (list.size() >= FEW_WAITERS && Integer.bitCount(list.size()) == 1) {
      list.removeIf(Waiter::gone);
    }
    list.add(waiter);
  }

  /** A call is a use now, also when it has waited in a queue since. */
  private long resolve(long lastUsedNs) {
    return lastUsedNs == ModelHost.NOW ? clock.nowNs() : lastUsedNs;
  }

  /** What is known without asking the store: measured here or elsewhere, or registered. */
  private Memory expectedSize(Model model) {
    Memory known = measured.get(model.id());
    return known != null ? known : Placer.expectedSize(registry.view(), model, record.initial());
  }

  /** Bytes of a model in the kind of memory that this pod's models live in. */
  private Memory memory(long bytes) {
    return config.capacity().vramBytes() > 0 ? new Memory(0, bytes) : Memory.ram(bytes);
  }

  /** A store that cannot tell will fail the pull too, which is where the reason is published. */
  private void askSize(Model model) {
    long bytes = 0;
    long startNs = System.nanoTime();
    try {
      bytes = loader.sizeBytes(model);
      metrics.sized(System.nanoTime() - startNs);
    } catch (Loader.LoadException | RuntimeException | Error e) {
      LOG.log(Level.DEBUG, "size of model ''{0}'' is unknown: {1}", model.id(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    host.report(new Message.Sized(model.id(), bytes));
  }

  private void loaded(Held held) {
    String id = held.model().id();
    Memory size = memory(held.countedBytes(config.capacity().minus(config.headroom())));
    measured.put(id, size);
    backlog.loaded(held);
    Slot<Held> slot = new Slot<>(held);
    staying.put(id, slot);
    host.slots().put(id, slot);
    metrics.loaded(held.loadMs(), held.loaded().sizeBytes());
    host.bootstrap().loadEnded(true, false);
    step(new Event.LoadDone(id, size, held.loadMs() * 1_000_000));
  }

  private void step(Event event) {
    switch (event) {
      case Event.Unwanted(String id) -> askedToGo.add(id);
      case Event.Lost(String id) -> askedToGo.add(id);
      case Event.Forgotten(String id) -> {
        askedToGo.add(id);
        Thread load = loading.get(id);
        if (load != null) {
          load.interrupt();
        }
      }
      case Event.LoadDone(String id, Memory _, long _) -> loading.remove(id);
      case Event.LoadFailed(String id, String _, Fault _) -> loading.remove(id);
      case Event.UnloadDone(String id) -> leaving.remove(id);
      case Event.Wanted(String id, Memory size, long lastUsedNs, Event.Purpose purpose) ->
          askedToGo.remove(id);
      default -> {}
    }
    for (Action action : cache.step(event, clock.nowNs())) {
      carryOut(action);
    }
  }

  private void carryOut(Action action) {
    switch (action) {
      case Action.Load(String id) -> load(id);
      case Action.Unload(String id) -> unload(id);
      case Action.Publish(String id, CopyState state) -> publish(id, state);
      case Action.Answer(String id, Action.Outcome outcome) -> answer(id, outcome);
    }
  }

  private void publish(String id, @Nullable CopyState state) {
    Model model = models.get(id);
    if (state instanceof CopyState.Loading && model != null) {
      backlog.queued(model, cache.size(id));
      queuedNs.putIfAbsent(id, clock.nowNs());
    } else {
      backlog.ended(id);
      queuedNs.remove(id);
    }
    tellOwn();
    if (state == null) {
      session.withdraw(id);
    } else {
      session.publish(id, state, clock.nowMs());
    }
  }

  /** What others hear in answers, as it is now. */
  private void tellOwn() {
    host.board()
        .own(
            new Hints.Heard(
                clock.nowMs(),
                cache.loadsQueued(),
                backlog.queuedMs(),
                cache.used(),
                host.draining()));
  }

  private void load(String id) {
    Model model = models.get(id);
    Long sinceNs = queuedNs.remove(id);
    metrics.loadStarted(sinceNs == null ? 0 : clock.nowNs() - sinceNs);
    loading.put(
        id,
        Thread.startVirtualThread(
            () -> {
              try {
                if (model == null) {
                  throw new IllegalStateException("model '" + id + "' is not known");
                }
                Held held = loader.load(model, host.statsOfNew(id));
                if (!host.report(new Message.Loaded(held))) {
                  held.close();
                }
              } catch (Loader.LoadException e) {
                host.bootstrap().loadEnded(false, e.ofRuntime());
                failed(id, String.valueOf(e.getMessage()), e.fault());
              } catch (InterruptedException e) {
                failed(id, "interrupted", Fault.TRANSIENT);
              } catch (RuntimeException | Error e) {
                // Unheard it would hold its memory and its place among the loads for ever.
                failed(id, e.toString(), Fault.TRANSIENT);
              }
            }));
  }

  private void failed(String id, String reason, Fault fault) {
    LOG.log(Level.WARNING, "model ''{0}'' failed to load: {1}", id, reason);
    metrics.loadFailed();
    host.report(new Message.Happened(new Event.LoadFailed(id, reason, fault)));
  }

  private void unload(String id) {
    Slot<Held> slot = staying.remove(id);
    boolean first = slot != null;
    if (slot == null) {
      // A repeated try.
      slot = leaving.get(id);
    } else {
      host.slots().remove(id, slot);
      leaving.put(id, slot);
      backlog.left(id, clock.nowMs());
      metrics.leaving(!askedToGo.remove(id), slot.lastUsedNs(), clock.nowNs());
    }
    Slot<Held> last = slot;
    if (last != null) {
      last.shut();
    }
    Thread.startVirtualThread(() -> host.report(new Message.Happened(unload(id, last, first))));
  }

  private Event unload(String id, @Nullable Slot<Held> slot, boolean first) {
    long startNs = System.nanoTime();
    String reason;
    try {
      if (slot == null || slot.awaitEmpty(config.unloadWaitMs())) {
        if (slot != null) {
          slot.held().close();
        }
        metrics.unloaded((System.nanoTime() - startNs) / 1_000_000);
        return new Event.UnloadDone(id);
      }
      reason = slot.pins() + " calls still use it after " + config.unloadWaitMs() + " ms";
    } catch (InterruptedException e) {
      reason = "interrupted";
    } catch (RuntimeException | Error e) {
      reason = e.toString();
    }
    LOG.log(Level.WARNING, "model ''{0}'' is not unloaded: {1}", id, reason);
    metrics.unloadFailed(first);
    return new Event.UnloadFailed(id, reason);
  }

  private void answer(String id, Action.Outcome outcome) {
    List<Waiter> told = waiters.remove(id);
    if (told != null) {
      Thread.startVirtualThread(() -> told.forEach(waiter -> waiter.ended(outcome)));
    }
  }

  private void answerAll(Action.Outcome outcome) {
    for (Message left = host.queue().poll(); left != null; left = host.queue().poll()) {
      switch (left) {
        case Message.Want want -> {
          Waiter waiter = want.waiter();
          if (waiter != null) {
            waiters.computeIfAbsent(want.model().id(), k -> new ArrayList<>()).add(waiter);
          }
        }
        case Message.Loaded(Held held) -> close(held);
        case Message.Lost(String id, Slot<Held> slot) -> {
          if (staying.get(id) == slot) {
            // The host closes what is in the slots, once its calls have left.
            host.slots().putIfAbsent(id, slot);
          }
        }
        case Message.Sized _, Message.Happened _ -> {}
      }
    }
    List.copyOf(waiters.keySet()).forEach(id -> answer(id, outcome));
  }

  /** One that fails must not keep the others from being closed, nor anybody from hearing. */
  private static void close(Held held) {
    try {
      held.close();
    } catch (RuntimeException | Error e) {
      LOG.log(Level.WARNING, "model '" + held.model().id() + "' is not closed", e);
    }
  }

  private void everyNowAndThen(long nowNs) {
    if (nowNs - lastTickNs >= TICK_NS) {
      lastTickNs = nowNs;
      host.waiting(waiters.values().stream().mapToInt(List::size).sum());
      step(new Event.Tick());
      host.unloadsFailing(cache.unloadsFailing());
    }
    if (nowNs - lastCheckNs >= CHECK_NS && host.viewMoved()) {
      lastCheckNs = nowNs;
      forgetUnregistered(registry.view());
      keepsStale = true;
    }
    if (keepsStale && nowNs - lastKeepsNs >= KEEPS_NS) {
      lastKeepsNs = nowNs;
      keepsStale = false;
      host.kept(Keeps.of(registry.view(), config.id()));
    }
    host.used(cache.used().ramBytes());
    record.publish(session, cache, backlog, host.draining(), nowNs);
  }

  /** O(models that this pod has to do with). */
  private void forgetUnregistered(MeshView view) {
    for (Model mine : List.copyOf(models.values())) {
      String id = mine.id();
      Model registered = view.model(id);
      if (registered == null || !registered.sameAs(mine)) {
        models.remove(id);
        measured.remove(id);
        if (sizing.remove(id) != null) {
          answer(id, UNREGISTERED);
        }
        step(new Event.Forgotten(id));
      } else if (cache.state(id) == null && !sizing.containsKey(id)) {
        models.remove(id);
        askedToGo.remove(id);
      }
    }
  }

  /** The last measured sizes, the least recently asked forgotten first. */
  private static final class Sizes extends LinkedHashMap<String, Memory> {
    private static final long serialVersionUID = 1L;

    Sizes() {
      super(16, 0.75f, true);
    }

    @Override
    protected boolean removeEldestEntry(Map.Entry<String, Memory> eldest) {
      return size() > REMEMBERED_SIZES;
    }
  }
}
