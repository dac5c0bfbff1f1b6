package orlop.puller;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import orlop.puller.Listing.Item;
import orlop.puller.PullException.Kind;

/**
 * One download: every part of every file of a listing, into a directory, each file verified once it
 * is complete. Runs once, on the calling thread and on virtual threads that end with it. Parts are
 * fetched file after file, so about as many files are open as there are threads.
 */
final class Transfer {
  private final Source.Remote source;
  private final Path directory;
  private final PullerConfig config;
  private final Backoff backoff;
  private final ExecutorService hashing;
  private final LongAdder bytesPulled;

  private final List<Target> targets = new ArrayList<>();
  private final Queue<Part> parts = new ConcurrentLinkedQueue<>();
  private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();

  /**
   * @param directory empty; everything is written below it
   * @param hashing computes checksums, on few threads: that is work, not waiting
   * @param bytesPulled counts what arrives
   */
  Transfer(
      Source.Remote source,
      Listing listing,
      Path directory,
      PullerConfig config,
      Backoff backoff,
      ExecutorService hashing,
      LongAdder bytesPulled) {
    this.source = source;
    this.directory = directory;
    this.config = config;
    this.backoff = backoff;
    this.hashing = hashing;
    this.bytesPulled = bytesPulled;
    for (Item item : listing.items()) {
      Target target = new Target(item);
      targets.add(target);
      for (long offset = 0; offset < item.bytes(); offset += config.partBytes()) {
        parts.add(new Part(target, offset, Math.min(config.partBytes(), item.bytes() - offset)));
        target.missingParts.incrementAndGet();
      }
    }
  }

  private record Part(Target target, long offset, long bytes) {}

  /**
   * Fetches and verifies everything.
   *
   * @throws PullException the first failure of any part; the directory then holds rubbish
   */
  List<Manifest.Stored> run() throws PullException, InterruptedException {
    List<Thread> workers = new ArrayList<>();
    try {
      int count = Math.min(config.parallelParts(), parts.size());
      for (Target target : targets) {
        if (target.item.bytes() == 0) {
          target.complete();
        }
      }
      for (int i = 0; i < count; i++) {
        workers.add(Thread.ofVirtual().name("puller-part-" + i).unstarted(() -> work(workers)));
      }
      workers.forEach(Thread::start);
      for (Thread worker : workers) {
        worker.join();
      }
    } finally {
      end(workers);
      targets.forEach(Target::closeQuietly);
    }
    rethrow(failure.get());
    return targets.stream().map(Target::stored).toList();
  }

  private void work(List<Thread> workers) {
    try {
      for (Part part = next(); part != null; part = next()) {
        fetch(part);
        if (part.target.missingParts.decrementAndGet() == 0) {
          part.target.complete();
        }
      }
    } catch (Throwable e) { // The first failure, of whatever kind, ends the transfer.
      if (failure.compareAndSet(null, e)) {
        workers.forEach(Thread::interrupt);
      }
    }
  }

  private @Nullable Part next() {
    return failure.get() == null ? parts.poll() : null;
  }

  /** No thread outlives the transfer: its files are about to be published or deleted. */
  private static void end(List<Thread> workers) {
    boolean interrupted = false;
    for (Thread worker : workers) {
      if (worker.getState() == Thread.State.NEW) {
        continue;
      }
      while (worker.isAlive()) {
        worker.interrupt();
        try {
          worker.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void rethrow(@Nullable Throwable first) throws PullException, InterruptedException {
    switch (first) {
      case null -> {}
      case PullException e -> throw e;
      case InterruptedException e -> throw e;
      case IOException e -> throw DiskCache.diskFailure(source.place(), e);
      default -> throw new IllegalStateException("a part of a pull failed: " + first, first);
    }
  }

  /** One part; a further try goes on where the one before it stopped. */
  private void fetch(Part part) throws PullException, InterruptedException {
    long[] done = {0};
    backoff.retry(
        config.attempts(),
        () -> {
          if (done[0] < part.bytes) {
            source.read(
                part.target.item,
                part.offset + done[0],
                part.bytes - done[0],
                bytes -> {
                  int count = bytes.remaining();
                  part.target.write(bytes, part.offset + done[0]);
                  done[0] += count;
                  bytesPulled.add(count);
                });
          }
          return done;
        });
  }

  /** One file that is being written, by several threads at different places. */
  private final class Target {
    final Item item;
    final AtomicInteger missingParts = new AtomicInteger();
    private final Path file;
    private final ReentrantLock opening = new ReentrantLock();
    private volatile @Nullable FileChannel channel;
    private volatile @Nullable String verifiedBy;

    Target(Item item) {
      this.item = item;
      this.file = directory.resolve(item.name());
    }

    private FileChannel channel() throws IOException {
      FileChannel open = channel;
      if (open != null) {
        return open;
      }
      opening.lock();
      try {
        open = channel;
        if (open == null) {
          Files.createDirectories(Objects.requireNonNull(file.getParent()));
          open = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
          channel = open;
        }
        return open;
      } finally {
        opening.unlock();
      }
    }

    void write(ByteBuffer bytes, long offset) throws PullException {
      long at = offset;
      try {
        FileChannel open = channel();
        while (bytes.hasRemaining()) {
          at += open.write(bytes, at);
        }
      } catch (IOException e) {
        throw DiskCache.diskFailure(source.place(), e);
      }
    }

    /** All bytes are written: to disk with them, then compare. */
    void complete() throws PullException, InterruptedException {
      try {
        FileChannel open = channel();
        open.force(true);
        open.close();
        verifiedBy = verify();
      } catch (IOException e) {
        throw DiskCache.diskFailure(source.place(), e);
      }
    }

    private String verify() throws PullException, InterruptedException, IOException {
      Checksum listed = source.listedChecksum(item);
      // A file of several parts is large enough to ask for a checksum that is faster than MD5.
      boolean small = item.bytes() <= config.partBytes();
      if (small && listed != null && matches(listed)) {
        return listed.algorithm().name();
      }
      Checksum asked = backoff.retry(config.attempts(), () -> source.askedChecksum(item));
      if (asked == null) {
        return "size";
      }
      if (!matches(asked)) {
        throw source
            .place()
            .stale(
                Kind.CORRUPT,
                "'%s' arrived with another %s than the store's %s"
                    .formatted(item.key(), asked.algorithm(), asked.hex()));
      }
      return asked.algorithm().name();
    }

    private boolean matches(Checksum checksum) throws IOException, InterruptedException {
      Future<Boolean> result = hashing.submit(() -> checksum.matches(file));
      try {
        return result.get();
      } catch (ExecutionException e) {
        if (e.getCause() instanceof IOException io) {
          throw io;
        }
        throw new IllegalStateException("hashing " + file + " failed", e.getCause());
      } finally {
        result.cancel(true);
      }
    }

    Manifest.Stored stored() {
      return new Manifest.Stored(
          item.name(), item.bytes(), item.version(), Objects.requireNonNull(verifiedBy));
    }

    void closeQuietly() {
      FileChannel open = channel;
      if (open != null) {
        try {
          open.close();
        } catch (IOException e) {
          // What counts was forced to disk before; anything else is about to be deleted.
          return;
        }
      }
    }
  }
}
