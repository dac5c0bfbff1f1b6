package orlop.placement;

/** One model in one pod, as its {@link ModelCache} sees it. Mutable, owned by the cache. */
final class CacheEntry {
  /**
   * What follows what: QUEUED → LOADING; LOADING → LOADED, FAILED, UNLOADING; LOADED → UNLOADING;
   * UNLOADING → gone, QUEUED, FAILED; FAILED → QUEUED, gone.
   */
  enum Phase {
    /** Waits for memory or for its turn; takes no memory. */
    QUEUED,
    LOADING,
    LOADED,
    UNLOADING,
    /** Takes no memory; remembers what went wrong. */
    FAILED
  }

  final String modelId;
  Phase phase = Phase.QUEUED;

  /** Taken, or to be taken when the load starts. */
  Memory size;

  /** Somebody is owed an answer. */
  boolean waiting;

  /** One of those who wait is a call, not a plan. */
  boolean live;

  /** Latest use that a want claimed. */
  long wantedNs;

  long queuedNs;
  long startedNs;
  long loadedNs;
  long loadNs;

  /** When a call was last told that the model is ready; it may not have pinned it yet. */
  long readyNs = Long.MIN_VALUE;

  /** Leaves as soon as nobody holds it. */
  boolean unwanted;

  /** Unregistered: the load under way, or the loaded copy, is for nobody. */
  boolean doomed;

  /** Wanted again while it is leaving. */
  boolean again;

  /** The last unload failed: nobody knows when the memory comes free. */
  boolean stuck;

  boolean unloadInFlight;
  int unloadFailures;
  long unloadRetryNs;

  /** Wanted by batches only. */
  boolean batch;

  /** A prefetched model may not leave before, unless it was used. */
  long leasedUntilNs = Long.MIN_VALUE;

  /** Outlives the entry. */
  final History history;

  /** Where it sits while it is loaded, and what it was worth when it was looked at last. */
  int seat = -1;

  double value;

  /** Worth in the choice among all that is under way. */
  double rank;

  /** Its last use of which the policy was told. */
  long seenNs;

  int failures;
  Fault fault = Fault.TRANSIENT;
  String reason = "";
  long retryAtMs;

  CacheEntry(String modelId, Memory size) {
    this(modelId, size, new History());
  }

  CacheEntry(String modelId, Memory size, History history) {
    this.modelId = modelId;
    this.size = size;
    this.history = history;
  }

  /** How its last load ended. */
  Action.Outcome failed() {
    return new Action.Outcome.Failed(fault, reason, retryAtMs);
  }

  /** What the mesh is told. A queued model is announced as loading, so that calls join the load. */
  CopyState visible() {
    return switch (phase) {
      case QUEUED, LOADING -> new CopyState.Loading();
      case LOADED -> new CopyState.Loaded(size, loadNs / 1_000_000);
      case UNLOADING -> new CopyState.Unloading();
      case FAILED -> new CopyState.FailedToLoad(fault, reason, retryAtMs);
    };
  }
}
