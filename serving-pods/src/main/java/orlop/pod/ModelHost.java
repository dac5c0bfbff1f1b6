package orlop.pod;

import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BiConsumer;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Action;
import orlop.placement.Event;
import orlop.placement.EvictionPolicy;
import orlop.placement.Keeps;
import orlop.placement.Model;
import orlop.placement.Usage;
import orlop.registry.PodSession;
import orlop.registry.Registry;
import orlop.runtime.SidecarModel;

/**
 * The models in this pod, as request threads see them: slots to pin, and a bounded queue of wishes
 * that the {@link HostLoop} works off. Thread-safe; nothing here waits for a load.
 */
final class ModelHost implements AutoCloseable {
  /** For {@link #want}: the use is a call, made now. */
  static final long NOW = Long.MAX_VALUE;

  private static final System.Logger LOG = System.getLogger(ModelHost.class.getName());
  private static final int QUEUE = 65_536;

  /** Models whose counts are kept; about 250 bytes each. */
  static final int REMEMBERED_STATS = 20_000;

  /** Told once how the load it waits for ended, on a virtual thread. */
  interface Waiter {
    void ended(Action.Outcome outcome);

    /** Whether nobody waits any more; it may then be forgotten untold. */
    default boolean gone() {
      return false;
    }

    /** One that waits until it is gone. */
    static Waiter until(BooleanSupplier gone, Waiter waiter) {
      return new Waiter() {
        @Override
        public void ended(Action.Outcome outcome) {
          waiter.ended(outcome);
        }

        @Override
        public boolean gone() {
          return gone.getAsBoolean();
        }
      };
    }
  }

  /** What the host thread is told. */
  sealed interface Message {
    record Want(Model model, long lastUsedNs, Event.Purpose purpose, @Nullable Waiter waiter)
        implements Message {}

    /** The store's answer; 0 bytes when it cannot tell. */
    record Sized(String modelId, long bytes) implements Message {}

    record Loaded(Held held) implements Message {}

    /** Its runtime no longer holds it; it is out of the slots already. */
    record Lost(String modelId, Slot<Held> slot) implements Message {}

    record Happened(Event event) implements Message {}
  }

  private final PodConfig config;
  private final Registry registry;
  private final Loader loader;
  private final EvictionPolicy policy;
  private final Metrics metrics;
  private final EpochClock clock;
  private final BlockingQueue<Message> queue = new ArrayBlockingQueue<>(QUEUE);
  private final Map<String, Slot<Held>> slots = new ConcurrentHashMap<>();

  /** Of models that are or were loaded, the least recently loaded forgotten first. */
  private final Map<String, ModelStats> stats =
      new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, ModelStats> eldest) {
          return size() > REMEMBERED_STATS;
        }
      };

  private final AtomicBoolean viewMoved = new AtomicBoolean();
  private final HintBoard board;
  private final Bootstrap bootstrap;
  private volatile boolean stopped;
  private volatile boolean draining;
  private volatile long usedBytes;
  private volatile int waiting;
  private volatile int unloadsFailing;
  private volatile Set<String> kept = Set.of();
  private @Nullable Thread thread;
  private Registry.@Nullable Subscription subscription;

  ModelHost(
      PodConfig config,
      Registry registry,
      Loader loader,
      EvictionPolicy policy,
      Metrics metrics,
      EpochClock clock) {
    this.config = config;
    this.registry = registry;
    this.loader = loader;
    this.policy = policy;
    this.metrics = metrics;
    this.clock = clock;
    this.board = new HintBoard(config.id());
    this.bootstrap = new Bootstrap(config, registry::view, System::nanoTime);
  }

  Bootstrap bootstrap() {
    return bootstrap;
  }

  HintBoard board() {
    return board;
  }

  /** Starts the host thread. Wishes made before are carried out from now on. Once. */
  void start(PodSession session, PodRecord record) {
    subscription = registry.listen(view -> viewMoved.set(true));
    HostLoop loop =
        new HostLoop(this, config, registry, session, record, loader, policy, metrics, clock);
    thread = Thread.ofPlatform().name("orlop-host-" + config.id()).daemon().start(loop);
  }

  /** The model's slot, pinned, when it is loaded; the caller must unpin it. */
  @Nullable Slot<Held> pin(String modelId, boolean batch) {
    Slot<Held> slot = slots.get(modelId);
    return slot != null && slot.pin(clock.nowNs(), batch) ? slot : null;
  }

  /** The counts of a model that is about to be loaded: those from before, where remembered. */
  ModelStats statsOfNew(String modelId) {
    synchronized (stats) {
      return stats.computeIfAbsent(modelId, id -> new ModelStats());
    }
  }

  /**
   * What the model did in this pod, also when it is not loaded now.
   *
   * @return null when it was never loaded here, or {@link #REMEMBERED_STATS} others were since
   */
  @Nullable ModelStats stats(String modelId) {
    Slot<Held> slot = slots.get(modelId);
    if (slot != null) {
      return slot.held().stats();
    }
    synchronized (stats) {
      return stats.get(modelId);
    }
  }

  boolean isLoaded(String modelId) {
    return slots.containsKey(modelId);
  }

  /**
   * Asks for the model to be loaded here.
   *
   * @param lastUsedNs counts as its last use, nanoseconds since the epoch, or {@link #NOW}
   * @param waiter null when nobody waits
   * @return whether the wish was taken; false when too many are queued, or the host has stopped
   */
  boolean want(Model model, long lastUsedNs, Event.Purpose purpose, @Nullable Waiter waiter) {
    return !stopped && queue.offer(new Message.Want(model, lastUsedNs, purpose, waiter));
  }

  /** Lets the model go once no call uses it; false when too many wishes are queued. */
  boolean letGo(String modelId) {
    return !stopped && queue.offer(new Message.Happened(new Event.Unwanted(modelId)));
  }

  /** Credentials or a runtime changed: what failed to load may be tried again at once. */
  void reconfigured() {
    report(new Message.Happened(new Event.Reconfigured()));
  }

  /**
   * The model's runtime no longer holds it: from now on no call gets this copy, its memory is given
   * back, and who asks for the model again has it loaded anew. Idempotent.
   */
  void lost(String modelId, Slot<Held> slot) {
    if (!slots.remove(modelId, slot)) {
      return;
    }
    slot.shut();
    Message lost = new Message.Lost(modelId, slot);
    if (!queue.offer(lost) || withdrawn(lost)) {
      Thread.startVirtualThread(
          () -> {
            if (!report(lost)) {
              closeUnused(modelId, slot, config.unloadWaitMs());
            }
          });
    }
  }

  /** The runtime beside this pod has lost all its models. */
  void lostBeside() {
    each(
        (id, slot) -> {
          if (slot.held().loaded() instanceof SidecarModel) {
            lost(id, slot);
          }
        });
  }

  /** Nothing new is loaded from now on; what is loaded goes on serving. Idempotent. */
  void drain() {
    if (!draining) {
      draining = true;
      report(new Message.Happened(new Event.Draining()));
    }
  }

  boolean draining() {
    return draining;
  }

  /** Calls {@code sink} with every loaded model's id and slot, in no order. */
  void each(BiConsumer<String, Slot<Held>> sink) {
    slots.forEach(sink);
  }

  /** Loaded models that a call used within the time. */
  List<String> usedWithin(long ms) {
    long sinceNs = clock.nowNs() - TimeUnit.MILLISECONDS.toNanos(ms);
    List<String> used = new ArrayList<>();
    each(
        (id, slot) -> {
          if (slot.lastUsedNs() > sinceNs) {
            used.add(id);
          }
        });
    return used;
  }

  int loadedCount() {
    return slots.size();
  }

  /** RAM taken by models that are loading, loaded or unloading; a moment old. */
  long usedBytes() {
    return usedBytes;
  }

  /**
   * When the model unused for longest was last used, milliseconds since the epoch; 0 without one.
   * O(loaded models).
   */
  long oldestUseMs() {
    long oldestNs = Long.MAX_VALUE;
    for (Slot<Held> slot : slots.values()) {
      long usedNs = slot.lastUsedNs();
      oldestNs = usedNs > 0 ? Math.min(oldestNs, usedNs) : oldestNs;
    }
    return oldestNs == Long.MAX_VALUE ? 0 : oldestNs / 1_000_000;
  }

  /** Calls kept until a load has ended, some of which may have given up; a moment old. */
  int waiting() {
    return waiting;
  }

  /**
   * Ends the host thread, answers everybody who waits, and closes the models whose calls end within
   * the time. A model that is still in use stays open: the process is about to end.
   */
  void close(long timeoutMs) {
    stopped = true;
    Thread running = thread;
    if (running == null) {
      return;
    }
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    try {
      running.join(Math.max(1_000, timeoutMs));
      for (String id : List.copyOf(slots.keySet())) {
        Slot<Held> slot = slots.remove(id);
        if (slot != null) {
          slot.shut();
          long leftMs = TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime());
          closeUnused(id, slot, Math.max(0, leftMs));
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      if (subscription != null) {
        subscription.close();
      }
    }
  }

  /** Closes a copy that is shut, unless calls still use it after the time. */
  private static void closeUnused(String modelId, Slot<Held> slot, long timeoutMs) {
    try {
      if (slot.awaitEmpty(timeoutMs)) {
        slot.held().close();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (RuntimeException | Error e) {
      LOG.log(Level.WARNING, "model ''{0}'' is left to its runtime: {1}", modelId, e.getMessage());
    }
  }

  @Override
  public void close() {
    close(0);
  }

  // ---- for the host loop

  BlockingQueue<Message> queue() {
    return queue;
  }

  Map<String, Slot<Held>> slots() {
    return slots;
  }

  boolean stopped() {
    return stopped;
  }

  void used(long ramBytes) {
    usedBytes = ramBytes;
  }

  void unloadsFailing(int models) {
    unloadsFailing = models;
  }

  /** Models whose last unload failed and whose memory is still taken; a second old. */
  int unloadsFailing() {
    return unloadsFailing;
  }

  /** Models whose copy here stands for their minimum. */
  void kept(Set<String> modelIds) {
    kept = modelIds;
  }

  void waiting(int calls) {
    waiting = calls;
  }

  /** Whether the registry had news since this was last asked. */
  boolean viewMoved() {
    return viewMoved.getAndSet(false);
  }

  /** Waits for room in the queue; false when the host has stopped. Never on the host thread. */
  boolean report(Message message) {
    try {
      while (!stopped) {
        if (queue.offer(message, 100, TimeUnit.MILLISECONDS)) {
          return !withdrawn(message);
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return false;
  }

  /** Whether the host stopped before it heard the message, which is not in the queue any more. */
  private boolean withdrawn(Message message) {
    return stopped && queue.remove(message);
  }

  /** What the cache may ask of the slots. */
  Usage usage() {
    return new Usage() {
      @Override
      public long lastUsedNs(String modelId) {
        Slot<Held> slot = slots.get(modelId);
        return slot == null ? 0 : slot.lastUsedNs();
      }

      @Override
      public long lastOnlineUseNs(String modelId) {
        Slot<Held> slot = slots.get(modelId);
        return slot == null ? 0 : slot.lastOnlineUseNs();
      }

      @Override
      public boolean pinned(String modelId) {
        Slot<Held> slot = slots.get(modelId);
        return slot != null && slot.pins() > 0;
      }

      @Override
      public boolean kept(String modelId) {
        return kept.contains(modelId);
      }

      @Override
      public long uses(String modelId) {
        Slot<Held> slot = slots.get(modelId);
        return slot == null ? 0 : slot.calls();
      }

      @Override
      public int recentUses(String modelId, long[] newestFirst) {
        Slot<Held> slot = slots.get(modelId);
        return slot == null ? 0 : slot.recentUses(newestFirst);
      }

      @Override
      public int copiesElsewhere(String modelId) {
        return Keeps.elsewhere(registry.view(), config.id(), modelId);
      }
    };
  }
}
