package orlop.puller;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import orlop.puller.PullException.Kind;

/**
 * Pulled content on local disk, bounded in size, kept over restarts. Thread-safe. Sizes in bytes.
 *
 * <p>{@code entries/<digest>/} holds {@code manifest.json} and {@code content/}; {@code partial/}
 * holds what is being written and {@code trash/} what is being deleted, and both are emptied at
 * start. An entry appears by one rename of its complete directory and disappears by another. The
 * least recently used entry that nobody has pinned leaves first, but content that its source has
 * since replaced, and what was made of content, leave before all other. The time of last use is the
 * manifest's file time.
 */
final class DiskCache implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(DiskCache.class.getName());

  private final Path entriesDirectory;
  private final Path partialDirectory;
  private final Path trashDirectory;
  private final long capacityBytes;
  private final LongSupplier nowMs;
  private final FileChannel lockFile;

  private final ReentrantLock lock = new ReentrantLock();
  // All below is guarded by the lock, under which at most a rename is done on disk.
  private final Map<String, Entry> entries = new HashMap<>();
  private final Map<String, Entry> newestOfSource = new HashMap<>();
  private long usedBytes;
  private long pinnedBytes;
  private long reservedBytes;
  private long uses;
  private long purged;
  private long names;

  /** One complete content on disk. Its counters are guarded by the cache's lock. */
  final class Entry implements Pulled.Hold {
    private final Manifest manifest;
    private final Path directory;
    private final long bytes;
    private final Set<String> sources = new LinkedHashSet<>();
    private int pins;
    private boolean gone;

    /** Whether what was made is known to be as it was made. */
    private volatile boolean checked;

    private long lastUse;

    private Entry(Manifest manifest, Path directory) {
      this.manifest = manifest;
      this.directory = directory;
      this.bytes = manifest.bytes();
    }

    private Path content() {
      return directory.resolve("content");
    }

    /**
     * Whether files that were made are still as they were, looked at once in each process: what
     * reads them trusts them.
     */
    private boolean asMade() {
      if (manifest.made() && !checked) {
        Manifest.Stored file = manifest.files().getFirst();
        try {
          checked = Checksum.crc32c(content().resolve(file.name())).equals(file.etag());
        } catch (IOException e) {
          return false;
        }
      }
      return checked || !manifest.made();
    }

    String digest() {
      return manifest.digest();
    }

    String source() {
      return manifest.source();
    }

    /** Turns one pin that is already held into a claim for a caller. */
    Pulled pulled(boolean fromDisk) {
      Path content = content();
      Path path = manifest.single() ? content.resolve(manifest.files().getFirst().name()) : content;
      return new Pulled(content, path, bytes, fromDisk, this);
    }

    @Override
    public void take() {
      lock.lock();
      try {
        pin();
      } finally {
        lock.unlock();
      }
    }

    @Override
    public void release() {
      lock.lock();
      try {
        pins--;
        pinnedBytes -= pins == 0 && !gone ? bytes : 0;
      } finally {
        lock.unlock();
      }
    }

    /** The caller holds the lock. */
    private void pin() {
      pinnedBytes += pins == 0 && !gone ? bytes : 0;
      pins++;
    }

    private boolean replaced() {
      for (String source : sources) {
        if (newestOfSource.get(source) == this) {
          return false;
        }
      }
      return true;
    }
  }

  /** Figures of one moment. */
  record Usage(long bytes, long pinnedBytes, long entries, long purged) {}

  /**
   * Takes the directory over, deletes half-written entries and purges what no longer fits.
   *
   * @throws IOException where the directory cannot be used, or is another puller's
   */
  DiskCache(Path root, long capacityBytes, LongSupplier nowMs) throws IOException {
    this.capacityBytes = capacityBytes;
    this.nowMs = nowMs;
    this.entriesDirectory = Files.createDirectories(root.resolve("entries"));
    this.partialDirectory = Files.createDirectories(root.resolve("partial"));
    this.trashDirectory = Files.createDirectories(root.resolve("trash"));
    this.lockFile = Directories.lock(root.resolve("lock"));
    try {
      sweep();
      load();
    } catch (IOException | RuntimeException e) {
      lockFile.close();
      throw e;
    }
  }

  private void sweep() throws IOException {
    for (Path leftOver : List.of(partialDirectory, trashDirectory)) {
      for (Path directory : Directories.children(leftOver)) {
        Directories.deleteTree(directory);
      }
    }
  }

  private void load() throws IOException {
    record Found(Manifest manifest, Path directory, FileTime lastUse) {}
    List<Found> found = new ArrayList<>();
    for (Path directory : Directories.children(entriesDirectory)) {
      try {
        Manifest manifest = Manifest.read(directory);
        FileTime lastUse = Files.getLastModifiedTime(Manifest.file(directory));
        if (directory.endsWith(manifest.digest())
            && manifest.intact(directory.resolve("content"))) {
          found.add(new Found(manifest, directory, lastUse));
          continue;
        }
        LOG.log(System.Logger.Level.WARNING, "dropped the incomplete cache entry " + directory);
      } catch (IOException e) {
        LOG.log(
            System.Logger.Level.WARNING,
            "dropped the cache entry " + directory + ": " + e.getMessage());
      }
      Directories.deleteTree(directory);
    }
    found.sort(Comparator.comparing(Found::lastUse));
    lock.lock();
    try {
      for (Found entry : found) {
        add(new Entry(entry.manifest, entry.directory), entry.manifest.source());
      }
    } finally {
      lock.unlock();
    }
    discard(shrinkTo(capacityBytes));
  }

  /** Pins the content of that digest on behalf of a source, or returns null: a miss. */
  @Nullable Entry pin(String digest, String source) {
    lock.lock();
    Entry entry;
    try {
      entry = entries.get(digest);
      if (entry == null) {
        return null;
      }
      entry.pin();
    } finally {
      lock.unlock();
    }
    return used(entry, source);
  }

  /** Pins the content that a source had when it was last asked, or returns null. */
  @Nullable Entry pinNewest(String source) {
    lock.lock();
    Entry entry;
    try {
      entry = newestOfSource.get(source);
      if (entry == null) {
        return null;
      }
      entry.pin();
    } finally {
      lock.unlock();
    }
    return used(entry, source);
  }

  boolean knows(String source) {
    lock.lock();
    try {
      return newestOfSource.containsKey(source);
    } finally {
      lock.unlock();
    }
  }

  /** Size of the content that a source had when it was last asked, or -1. */
  long newestBytes(String source) {
    lock.lock();
    try {
      Entry entry = newestOfSource.get(source);
      return entry == null ? -1 : entry.bytes;
    } finally {
      lock.unlock();
    }
  }

  private @Nullable Entry used(Entry entry, String source) {
    if (!entry.manifest.intact(entry.content()) || !entry.asMade()) {
      LOG.log(System.Logger.Level.WARNING, "files are missing or damaged in " + entry.directory);
      drop(entry);
      return null;
    }
    lock.lock();
    try {
      touch(entry, source);
    } finally {
      lock.unlock();
    }
    try {
      Files.setLastModifiedTime(
          Manifest.file(entry.directory), FileTime.fromMillis(nowMs.getAsLong()));
    } catch (IOException e) {
      // Only the order of purging after a restart suffers.
      LOG.log(System.Logger.Level.DEBUG, "cannot note the use of " + entry.directory, e);
    }
    return entry;
  }

  private void drop(Entry broken) {
    List<Path> trash = new ArrayList<>();
    lock.lock();
    try {
      if (entries.get(broken.manifest.digest()) == broken) {
        remove(broken, trash);
      }
    } finally {
      lock.unlock();
    }
    discard(trash);
  }

  /** Space for content that is being written, and the directory to write it to. */
  final class Reservation implements AutoCloseable {
    private final String digest;
    private final long bytes;
    private final Path directory;
    private boolean settled;

    private Reservation(String digest, long bytes, Path directory) {
      this.digest = digest;
      this.bytes = bytes;
      this.directory = directory;
    }

    /** Where the files go. */
    Path content() {
      return directory.resolve("content");
    }

    /**
     * Makes the content an entry, pinned once for the caller.
     *
     * @throws IOException where the disk refuses; nothing is visible then
     */
    Entry publish(Manifest manifest) throws IOException {
      manifest.write(directory);
      Files.setLastModifiedTime(Manifest.file(directory), FileTime.fromMillis(nowMs.getAsLong()));
      Path target = entriesDirectory.resolve(digest);
      Entry entry = new Entry(manifest, target);
      lock.lock();
      try {
        Files.move(directory, target, StandardCopyOption.ATOMIC_MOVE);
        reservedBytes -= bytes;
        settled = true;
        add(entry, manifest.source());
        entry.pin();
        entry.checked = true;
      } finally {
        lock.unlock();
      }
      return entry;
    }

    /** Gives the space back and deletes the files, unless they were published. */
    @Override
    public void close() {
      lock.lock();
      try {
        if (settled) {
          return;
        }
        settled = true;
      } finally {
        lock.unlock();
      }
      discard(List.of(directory));
      lock.lock();
      try {
        reservedBytes -= bytes;
      } finally {
        lock.unlock();
      }
    }
  }

  /**
   * Makes room, purging what is used least and pinned by nobody.
   *
   * @throws PullException {@code NO_SPACE} with the numbers
   */
  Reservation reserve(String digest, long bytes, Place place) throws PullException {
    List<Path> trash;
    Path directory;
    lock.lock();
    try {
      long pinned = pinnedBytes;
      if (bytes > capacityBytes - pinned - reservedBytes) {
        throw place.failure(
            Kind.NO_SPACE,
            "it takes %,d bytes; the disk cache has %,d, of which %,d are in use and %,d being pulled"
                .formatted(bytes, capacityBytes, pinned, reservedBytes));
      }
      trash = shrinkTo(capacityBytes - reservedBytes - bytes);
      reservedBytes += bytes;
      directory = partialDirectory.resolve(digest + "." + names++);
    } finally {
      lock.unlock();
    }
    discard(trash);
    Reservation reservation = new Reservation(digest, bytes, directory);
    try {
      Files.createDirectories(reservation.content());
      long free = Files.getFileStore(directory).getUsableSpace();
      if (bytes > free) {
        throw place.failure(
            Kind.NO_SPACE,
            "it takes %,d bytes and the disk of %s has only %,d left"
                .formatted(bytes, partialDirectory, free));
      }
      return reservation;
    } catch (IOException e) {
      reservation.close();
      throw diskFailure(place, e);
    } catch (PullException e) {
      reservation.close();
      throw e;
    }
  }

  /** What a failed write to the cache means. */
  static PullException diskFailure(Place place, IOException e) {
    String reason = String.valueOf(e.getMessage());
    boolean full = reason.contains("No space left") || reason.contains("quota");
    return place.failure(
        full ? Kind.NO_SPACE : Kind.TRANSIENT, "writing to the disk cache failed: " + reason, e);
  }

  /** Deletes what nobody has pinned; of one source, or of all where it is null. */
  long purge(@Nullable String source) {
    long freed = 0;
    List<Path> trash = new ArrayList<>();
    lock.lock();
    try {
      for (Entry entry : List.copyOf(entries.values())) {
        if (entry.pins == 0 && (source == null || entry.sources.contains(source))) {
          freed += entry.bytes;
          remove(entry, trash);
        }
      }
    } finally {
      lock.unlock();
    }
    discard(trash);
    return freed;
  }

  Usage usage() {
    lock.lock();
    try {
      return new Usage(usedBytes, pinnedBytes, entries.size(), purged);
    } finally {
      lock.unlock();
    }
  }

  // From here to discard: the caller holds the lock.

  private void add(Entry entry, String source) {
    entries.put(entry.manifest.digest(), entry);
    usedBytes += entry.bytes;
    touch(entry, source);
  }

  private void touch(Entry entry, String source) {
    if (entries.get(entry.manifest.digest()) == entry) {
      entry.lastUse = ++uses;
      entry.sources.add(source);
      if (!entry.manifest.made()) {
        newestOfSource.put(source, entry);
      }
    }
  }

  private List<Path> shrinkTo(long bytes) {
    List<Path> trash = new ArrayList<>();
    if (usedBytes <= bytes) {
      return trash;
    }
    List<Entry> leaving = new ArrayList<>(entries.values());
    leaving.removeIf(entry -> entry.pins > 0);
    leaving.sort(
        Comparator.comparing((Entry entry) -> !entry.replaced())
            .thenComparingLong(entry -> entry.lastUse));
    for (Entry entry : leaving) {
      if (usedBytes <= bytes) {
        break;
      }
      remove(entry, trash);
    }
    return trash;
  }

  private void remove(Entry entry, List<Path> trash) {
    entries.remove(entry.manifest.digest());
    for (String source : entry.sources) {
      newestOfSource.remove(source, entry);
    }
    usedBytes -= entry.bytes;
    pinnedBytes -= entry.pins > 0 ? entry.bytes : 0;
    entry.gone = true;
    purged++;
    Path target = trashDirectory.resolve(entry.manifest.digest() + "." + names++);
    try {
      // Renamed at once, so that the same content can be pulled again while this is deleted.
      trash.add(Files.move(entry.directory, target, StandardCopyOption.ATOMIC_MOVE));
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, "cannot remove " + entry.directory, e);
    }
  }

  private static void discard(List<Path> directories) {
    for (Path directory : directories) {
      try {
        Directories.deleteTree(directory);
      } catch (IOException e) {
        LOG.log(
            System.Logger.Level.WARNING, "cannot delete " + directory + " until the next start", e);
      }
    }
  }

  @Override
  public void close() {
    try {
      lockFile.close();
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, "cannot release the lock of the disk cache", e);
    }
  }
}
