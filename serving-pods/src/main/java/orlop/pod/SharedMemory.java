package orlop.pod;

import inference.SystemSharedMemoryStatusResponse;
import inference.SystemSharedMemoryStatusResponse.RegionStatus;
import io.grpc.Status;
import io.grpc.StatusException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * Parts of shared-memory files that callers on this machine have registered, mapped into this
 * process. Source: Triton's shared-memory extension. Thread-safe.
 *
 * <p>Bounded by {@link #MAX_REGIONS} and {@link #MAX_BYTES}. What is mapped belongs to whoever made
 * it, who may write to it while it is read here.
 */
final class SharedMemory implements AutoCloseable {
  static final int MAX_REGIONS = 1_024;
  static final long MAX_BYTES = 8L << 30;
  private static final int MAX_NAME_CHARS = 255;

  private final SharedMemoryConfig config;
  private final Path directory;
  private final Map<String, Region> regions = new LinkedHashMap<>();
  private long bytes;

  SharedMemory(SharedMemoryConfig config) {
    this(config, Path.of("/dev/shm"));
  }

  /** With the files of another directory. */
  SharedMemory(SharedMemoryConfig config, Path directory) {
    this.config = config;
    this.directory = directory;
  }

  /** A mapped part of a file. It stays mapped until it is unregistered and nobody uses it. */
  static final class Region {
    private static final int CLOSED = Integer.MIN_VALUE;

    private final String name;
    private final String key;
    private final long offset;
    private final FileChannel file;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment memory;

    /** Users; the one who brings it to exactly CLOSED unmaps the memory. */
    private final AtomicInteger users = new AtomicInteger();

    private Region(String name, String key, long offset, long size, FileChannel file)
        throws IOException {
      this.name = name;
      this.key = key;
      this.offset = offset;
      this.file = file;
      this.memory = file.map(FileChannel.MapMode.READ_WRITE, offset, size, arena);
    }

    String name() {
      return name;
    }

    private boolean enter() {
      return users.getAndUpdate(n -> n < 0 ? n : n + 1) >= 0;
    }

    /** Once for each {@link SharedMemory#use}. */
    void leave() {
      if (users.decrementAndGet() == CLOSED) {
        unmap();
      }
    }

    private void close() {
      if (users.getAndUpdate(n -> n < 0 ? n : n + CLOSED) == 0) {
        unmap();
      }
    }

    private void unmap() {
      arena.close();
      try {
        file.close();
      } catch (IOException e) {
        // It was read and written by its mapping alone.
        throw new IllegalStateException("shared memory file '" + key + "' does not close", e);
      }
    }

    /**
     * A part of the region, in place; to be used between enter and leave.
     *
     * @param what names the tensor in errors
     */
    ByteBuffer part(String what, long from, long size) throws StatusException {
      if (from < 0 || size < 0 || from > memory.byteSize() || size > memory.byteSize() - from) {
        throw Status.INVALID_ARGUMENT
            .withDescription(
                "%s: %d bytes at offset %d do not lie within the %d bytes of shared memory region '%s'"
                    .formatted(what, size, Math.max(from, 0), memory.byteSize(), name))
            .asException();
      }
      if (size > Integer.MAX_VALUE) {
        throw Status.INVALID_ARGUMENT
            .withDescription("%s: %d bytes, expected at most 2 GiB".formatted(what, size))
            .asException();
      }
      requireThere();
      return memory.asSlice(from, size).asByteBuffer();
    }

    /** To touch what has been cut off would end the process. */
    private void requireThere() throws StatusException {
      long end = offset + memory.byteSize();
      try {
        if (file.size() >= end) {
          return;
        }
      } catch (IOException e) {
        throw Status.FAILED_PRECONDITION
            .withDescription("shared memory file '" + key + "': " + e.getMessage())
            .asException();
      }
      throw Status.FAILED_PRECONDITION
          .withDescription(
              "shared memory file '%s' has been cut to less than the %d bytes that region '%s' needs"
                  .formatted(key, end, name))
          .asException();
    }

    private RegionStatus status() {
      return RegionStatus.newBuilder()
          .setName(name)
          .setKey(key)
          .setOffset(offset)
          .setByteSize(memory.byteSize())
          .build();
    }
  }

  /**
   * Maps a part of a file.
   *
   * @param key the file's plain name, with or without a slash before it, as for {@code shm_open}
   */
  void register(String name, String key, long offset, long size) throws StatusException {
    requireOn();
    if (name.isEmpty() || name.length() > MAX_NAME_CHARS) {
      throw bad("its name has %d characters, expected 1 to %d", name.length(), MAX_NAME_CHARS);
    }
    if (offset < 0 || size < 1 || size > MAX_BYTES || offset > Long.MAX_VALUE - size) {
      throw bad(
          "region '%s' is of %s bytes at offset %s, expected 1 to %d bytes",
          name, Long.toUnsignedString(size), Long.toUnsignedString(offset), MAX_BYTES);
    }
    requireRoom(name, size);
    Region region = map(name, key, offset, size);
    boolean kept = false;
    try {
      kept = keep(region);
    } finally {
      if (!kept) {
        region.close();
      }
    }
  }

  private synchronized void requireRoom(String name, long size) throws StatusException {
    if (regions.containsKey(name)) {
      throw Status.ALREADY_EXISTS
          .withDescription("shared memory region '" + name + "' is registered already")
          .asException();
    }
    if (regions.size() >= MAX_REGIONS || size > MAX_BYTES - bytes) {
      throw Overload.STATUS
          .withDescription(
              "shared memory region '%s' of %d bytes: %d regions of %d bytes are registered, allowed are %d of %d"
                  .formatted(name, size, regions.size(), bytes, MAX_REGIONS, MAX_BYTES))
          .asException();
    }
  }

  private synchronized boolean keep(Region region) throws StatusException {
    requireRoom(region.name, region.memory.byteSize());
    regions.put(region.name, region);
    bytes += region.memory.byteSize();
    return true;
  }

  private Region map(String name, String key, long offset, long size) throws StatusException {
    Path path = path(key);
    FileChannel file = null;
    boolean mapped = false;
    try {
      if (!Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS)) {
        throw bad("key '%s': %s is no plain file there", key, path);
      }
      file =
          FileChannel.open(
              path, StandardOpenOption.READ, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
      if (file.size() - offset < size) {
        // To map more than there is would make the file longer.
        throw bad(
            "region '%s': %d bytes at offset %d do not lie within the %d bytes of key '%s'",
            name, size, offset, file.size(), key);
      }
      Region region = new Region(name, key, offset, size, file);
      mapped = true;
      return region;
    } catch (NoSuchFileException e) {
      throw bad("key '%s': there is no file %s in this pod", key, path);
    } catch (IOException e) {
      throw bad("key '%s': %s cannot be mapped: %s", key, path, e);
    } finally {
      if (!mapped) {
        close(file);
      }
    }
  }

  private static void close(@Nullable FileChannel file) {
    if (file != null) {
      try {
        file.close();
      } catch (IOException e) {
        throw new IllegalStateException("a file that was only looked at does not close", e);
      }
    }
  }

  /** Nothing but a plain name: a key must not lead out of the directory. */
  private Path path(String key) throws StatusException {
    String name = key.startsWith("/") ? key.substring(1) : key;
    boolean plain =
        !name.isEmpty()
            && name.length() <= MAX_NAME_CHARS
            && !name.equals(".")
            && !name.equals("..")
            && name.indexOf('/') < 0
            && name.indexOf('\0') < 0;
    if (!plain) {
      throw bad("key '%s', expected the plain name of a file in %s", key, directory);
    }
    if (!name.startsWith(config.keyPrefix())) {
      throw bad(
          "key '%s', expected a name that begins with '%s' (pod.sharedMemory.keyPrefix)",
          key, config.keyPrefix());
    }
    return directory.resolve(name);
  }

  private void requireOn() throws StatusException {
    if (!config.enabled()) {
      throw Status.UNIMPLEMENTED
          .withDescription(
              "shared memory is off in this pod; pod.sharedMemory.enabled, which is false, allows it")
          .asException();
    }
  }

  private static StatusException bad(String format, Object... arguments) {
    return Status.INVALID_ARGUMENT
        .withDescription("shared memory: " + format.formatted(arguments))
        .asException();
  }

  /**
   * The region, kept mapped until {@link Region#leave}.
   *
   * @param what names the tensor in errors
   * @param podId this pod
   */
  Region use(String what, String name, String podId) throws StatusException {
    requireOn();
    Region region;
    synchronized (this) {
      region = regions.get(name);
    }
    if (region == null || !region.enter()) {
      throw Status.INVALID_ARGUMENT
          .withDescription(
              "%s: shared memory region '%s' is not registered in pod '%s', where the model runs; shared memory serves only models that run in the pod that has the region"
                  .formatted(what, name, podId))
          .asException();
    }
    return region;
  }

  /** The region of that name, or all of them when it is empty. */
  synchronized SystemSharedMemoryStatusResponse status(String name) throws StatusException {
    requireOn();
    var told = SystemSharedMemoryStatusResponse.newBuilder();
    if (name.isEmpty()) {
      regions.forEach((each, region) -> told.putRegions(each, region.status()));
      return told.build();
    }
    Region region = regions.get(name);
    if (region == null) {
      throw Status.NOT_FOUND
          .withDescription("shared memory region '" + name + "' is not registered")
          .asException();
    }
    return told.putRegions(name, region.status()).build();
  }

  /** Forgets the region of that name, if there is one, or all of them when it is empty. */
  void unregister(String name) throws StatusException {
    requireOn();
    forget(name);
  }

  private void forget(String name) {
    List<Region> gone;
    synchronized (this) {
      if (name.isEmpty()) {
        gone = List.copyOf(regions.values());
        regions.clear();
      } else {
        Region region = regions.remove(name);
        gone = region == null ? List.of() : List.of(region);
      }
      gone.forEach(region -> bytes -= region.memory.byteSize());
    }
    gone.forEach(Region::close);
  }

  @Override
  public void close() {
    forget("");
  }
}
