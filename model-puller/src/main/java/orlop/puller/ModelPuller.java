package orlop.puller;

import java.io.IOException;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import orlop.puller.PullException.Kind;

/**
 * Brings models to local disk: a location in, a verified directory out; one pull at a time per
 * content. Thread-safe; callers wait, best on virtual threads.
 *
 * <p>Each pull asks the store what is there now (one listing). What is already on disk in that very
 * version is served from there; when the store is away, what was there last is.
 */
public final class ModelPuller implements AutoCloseable {
  private static final int MAX_LISTED = 100_000;
  private static final int MAX_SIZED = 10_000;
  private static final System.Logger LOG = System.getLogger(ModelPuller.class.getName());

  /** A store that did not answer is not asked again so soon where disk can serve instead. */
  static final long ASK_AGAIN_MS = 5_000;

  /**
   * Tries to list what is on disk already: one for a pooled connection that the store has closed
   * meanwhile, one on a new connection, and then disk is better than to insist.
   */
  private static final int TRIES_WITH_DISK = 2;

  private final PullerConfig config;
  private final LongSupplier nowMs;
  private final S3Clients clients;
  private final SourceResolver resolver;
  private final DiskCache cache;
  private final MadeFiles made;
  private final ExecutorService hashing;
  private final Semaphore downloads;
  private volatile Map<String, StorageConfig> storages;

  private final LongAdder hits = new LongAdder();
  private final LongAdder misses = new LongAdder();
  private final LongAdder joined = new LongAdder();
  private final LongAdder inPlace = new LongAdder();
  private final LongAdder stale = new LongAdder();
  private final LongAdder retries = new LongAdder();
  private final LongAdder failures = new LongAdder();
  private final LongAdder bytesPulled = new LongAdder();

  private final Backoff backoff;
  private final Flights byLocation = new Flights("puller-location", joined);
  private final Flights byContent = new Flights("puller-content", joined);

  /** Stores that did not answer when last asked, and when that was. */
  private final Map<String, Long> awaySinceMs = new ConcurrentHashMap<>();

  /** When a location was last listed; at most {@link #MAX_LISTED}, older ones go first. */
  private final Map<String, Long> listedMs = new ConcurrentHashMap<>();

  /** What a question for a size was told, for the pull that comes after it. */
  private final Map<String, Listing> sized = new ConcurrentHashMap<>();

  /**
   * Takes the cache directory over.
   *
   * @throws IllegalArgumentException where the directory cannot be used, or another puller uses it
   */
  public ModelPuller(PullerConfig config) {
    this(config, InstantSource.system()::millis);
  }

  /**
   * @param nowMs wall clock, milliseconds since the epoch: orders the purging after a restart, and
   *     says when to ask a store again that was away
   */
  public ModelPuller(PullerConfig config, LongSupplier nowMs) {
    this.config = config;
    this.nowMs = nowMs;
    this.storages = config.storages();
    try {
      this.cache = new DiskCache(config.cacheDirectory(), config.cacheCapacityBytes(), nowMs);
    } catch (IOException e) {
      throw new IllegalArgumentException(
          "puller.cacheDirectory '"
              + config.cacheDirectory()
              + "' cannot be used: "
              + e.getMessage()
              + "; expected a writable directory of this process alone",
          e);
    }
    this.made = new MadeFiles(cache);
    this.clients = new S3Clients(config);
    this.resolver = new SourceResolver(config, clients);
    this.backoff = new Backoff(config.attempts(), config.backoffMs(), new Random(), retries);
    this.downloads = new Semaphore(config.maxConcurrentPulls(), true);
    int threads = Math.max(1, Runtime.getRuntime().availableProcessors() / 2);
    this.hashing =
        Executors.newFixedThreadPool(
            threads, Thread.ofPlatform().daemon().name("puller-hash-", 0).factory());
  }

  /**
   * Brings a model to disk and pins it there.
   *
   * @return to be closed when the files are no longer needed
   * @throws PullException see {@link Kind}; nothing is left on disk then
   * @throws InterruptedException when the caller is interrupted; a pull that nobody else waits for
   *     ends, and leaves nothing on disk
   */
  public Pulled pull(ModelLocation location) throws PullException, InterruptedException {
    try {
      return switch (resolver.resolve(location, storages)) {
        case FileSource file -> {
          Pulled pulled = file.inPlace();
          inPlace.increment();
          yield pulled;
        }
        case Source.Remote remote -> {
          Pulled here = asListed(remote);
          yield here != null
              ? here
              : byLocation.join(
                  remote.id(), config.timeoutMs(), remote.place(), () -> newest(remote));
        }
      };
    } catch (PullException e) {
      failures.increment();
      throw e;
    }
  }

  /** What the source has now, from disk or from the store; afresh while it changes meanwhile. */
  private Pulled newest(Source.Remote source) throws PullException, InterruptedException {
    for (int attempt = 1; ; attempt++) {
      Pulled known = asListed(source);
      if (known != null) {
        return known;
      }
      Listing listing;
      try {
        listing = listing(source);
      } catch (PullException e) {
        return lastKnown(source, e);
      }
      answered(source);
      listed(source);
      String digest = listing.digest(source.contentPlace());
      DiskCache.Entry entry = cache.pin(digest, source.id());
      if (entry != null) {
        hits.increment();
        return entry.pulled(true);
      }
      try {
        return byContent.join(
            digest, config.timeoutMs(), source.place(), () -> download(source, listing, digest));
      } catch (PullException e) {
        if (!e.stale() || attempt >= config.attempts()) {
          throw e;
        }
        backoff.pause(attempt);
      }
    }
  }

  /** Asks the store, unless it was asked for the size just now. */
  private Listing listing(Source.Remote source) throws PullException, InterruptedException {
    Listing known = sized.remove(source.id());
    if (known != null && listedJustNow(source)) {
      return known;
    }
    int tries = cache.knows(source.id()) ? TRIES_WITH_DISK : config.attempts();
    return backoff.retry(tries, source::list);
  }

  private Pulled lastKnown(Source.Remote source, PullException failure) throws PullException {
    if (failure.kind() != Kind.TRANSIENT) {
      throw failure;
    }
    DiskCache.Entry entry = cache.pinNewest(source.id());
    if (entry == null) {
      throw failure;
    }
    if (awaySinceMs.put(source.store(), nowMs.getAsLong()) == null) {
      LOG.log(
          System.Logger.Level.WARNING,
          source.store() + " is away; serving what is on disk. " + failure.getMessage());
    }
    return stale(entry);
  }

  /** What is on disk and needs no question to the store, or null. */
  private @Nullable Pulled asListed(Source.Remote source) {
    Pulled rest = whileAway(source);
    return rest != null ? rest : whileListed(source);
  }

  /** What is on disk of a store that was away a moment ago, or null where it is to be asked. */
  private @Nullable Pulled whileAway(Source.Remote source) {
    if (!awayJustNow(source)) {
      return null;
    }
    DiskCache.Entry entry = cache.pinNewest(source.id());
    return entry == null ? null : stale(entry);
  }

  /**
   * What is on disk of a location that was listed a moment ago, or null where it is to be asked.
   */
  private @Nullable Pulled whileListed(Source.Remote source) {
    if (!listedJustNow(source)) {
      return null;
    }
    DiskCache.Entry entry = cache.pinNewest(source.id());
    if (entry == null) {
      return null;
    }
    hits.increment();
    return entry.pulled(true);
  }

  private boolean listedJustNow(Source.Remote source) {
    Long atMs = listedMs.get(source.id());
    return atMs != null && nowMs.getAsLong() - atMs < config.revalidateMs();
  }

  private void listed(Source.Remote source) {
    if (config.revalidateMs() == 0) {
      return;
    }
    long now = nowMs.getAsLong();
    if (listedMs.size() >= MAX_LISTED) {
      listedMs.values().removeIf(atMs -> now - atMs >= config.revalidateMs());
    }
    if (listedMs.size() < MAX_LISTED) {
      listedMs.put(source.id(), now);
    }
  }

  private boolean awayJustNow(Source.Remote source) {
    Long sinceMs = awaySinceMs.get(source.store());
    return sinceMs != null && nowMs.getAsLong() - sinceMs < ASK_AGAIN_MS;
  }

  private Pulled stale(DiskCache.Entry entry) {
    stale.increment();
    hits.increment();
    return entry.pulled(true);
  }

  private void answered(Source.Remote source) {
    if (awaySinceMs.remove(source.store()) != null) {
      LOG.log(System.Logger.Level.INFO, source.store() + " answers again");
    }
  }

  private Pulled download(Source.Remote source, Listing listing, String digest)
      throws PullException, InterruptedException {
    downloads.acquire();
    try {
      DiskCache.Entry already = cache.pin(digest, source.id());
      if (already != null) {
        hits.increment();
        return already.pulled(true);
      }
      misses.increment();
      try (DiskCache.Reservation space = cache.reserve(digest, listing.bytes(), source.place())) {
        Transfer transfer =
            new Transfer(source, listing, space.content(), config, backoff, hashing, bytesPulled);
        Manifest manifest =
            new Manifest(
                Manifest.VERSION, source.id(), digest, listing.single(), transfer.run(), false);
        return space.publish(manifest).pulled(false);
      } catch (IOException e) {
        throw DiskCache.diskFailure(source.place(), e);
      }
    } finally {
      downloads.release();
    }
  }

  /** Makes one file; whatever it throws leaves nothing behind. */
  public interface Maker {
    void make(Path file) throws IOException;
  }

  /** What was made of these files under that name, pinned until it is closed; null when nothing. */
  public @Nullable Pulled made(Pulled of, String name) {
    return made.find(of, name);
  }

  /**
   * Has one file made of these, soon and elsewhere, and keeps it in the disk cache as far as there
   * is room. It is purged before anything that was pulled. Does nothing for files outside of the
   * cache.
   *
   * @param name plain file name; another name is another file
   */
  public void keep(Pulled of, String name, long mostBytes, Maker maker) {
    made.keep(of, name, mostBytes, maker);
  }

  /**
   * Size of a model's files, by a listing alone; as last known while the store is away.
   *
   * @throws PullException see {@link Kind}; an interrupt is {@code TRANSIENT}, with the flag kept
   */
  public long sizeBytes(ModelLocation location) throws PullException {
    Source source = resolver.resolve(location, storages);
    long known = source instanceof Source.Remote remote ? cache.newestBytes(remote.id()) : -1;
    if (known >= 0
        && source instanceof Source.Remote remote
        && (awayJustNow(remote) || listedJustNow(remote))) {
      return known;
    }
    try {
      Listing listing =
          backoff.retry(known >= 0 ? TRIES_WITH_DISK : config.attempts(), source::list);
      if (source instanceof Source.Remote remote && known < 0 && sized.size() < MAX_SIZED) {
        listed(remote);
        sized.put(remote.id(), listing);
      }
      return listing.bytes();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw source.place().failure(Kind.TRANSIENT, "interrupted while listing", e);
    } catch (PullException e) {
      if (known < 0 || e.kind() != Kind.TRANSIENT) {
        throw e;
      }
      return known;
    }
  }

  /**
   * Names of the files and folders directly below a location, sorted.
   *
   * @throws PullException see {@link Kind}
   */
  public List<String> children(ModelLocation location) throws PullException, InterruptedException {
    Source source = resolver.resolve(location, storages);
    Listing listing = backoff.retry(config.attempts(), source::list);
    TreeSet<String> names = new TreeSet<>();
    for (Listing.Item item : listing.items()) {
      int slash = item.name().indexOf('/');
      names.add(slash < 0 ? item.name() : item.name().substring(0, slash));
    }
    return List.copyOf(names);
  }

  /**
   * Deletes what the disk cache holds of a location, as far as it is not pinned.
   *
   * @return bytes freed
   * @throws PullException {@code BAD_LOCATION}
   */
  public long purge(ModelLocation location) throws PullException {
    if (!(resolver.resolve(location, storages) instanceof Source.Remote remote)) {
      return 0;
    }
    listedMs.remove(remote.id());
    return cache.purge(remote.id());
  }

  /** Deletes everything in the disk cache that is not pinned; returns the bytes freed. */
  public long purgeAll() {
    listedMs.clear();
    return cache.purge(null);
  }

  /** Replaces the named storages, for pulls from now on: credentials rotate while a pod runs. */
  public void useStorages(Map<String, StorageConfig> storages) {
    this.storages = Map.copyOf(storages);
  }

  /** Figures for metrics. O(cache entries). */
  public PullStats stats() {
    DiskCache.Usage usage = cache.usage();
    return new PullStats(
        hits.sum(),
        misses.sum(),
        joined.sum(),
        inPlace.sum(),
        stale.sum(),
        retries.sum(),
        failures.sum(),
        bytesPulled.sum(),
        usage.purged(),
        usage.bytes(),
        usage.pinnedBytes(),
        usage.entries());
  }

  /** Ends running pulls and lets the cache directory go; pinned files stay where they are. */
  @Override
  public void close() {
    byLocation.close();
    byContent.close();
    hashing.shutdownNow();
    made.close();
    clients.close();
    cache.close();
  }
}
