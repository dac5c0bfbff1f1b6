package orlop.puller;

import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A model on local disk, complete and verified. Until it is closed the disk cache does not purge
 * it. Its files are shared: read them, do not change them. Thread-safe; closing twice is harmless.
 */
public final class Pulled implements AutoCloseable {

  /** What keeps the files where they are; counts. */
  interface Hold {
    /** For files that the cache does not own. */
    Hold NONE =
        new Hold() {
          @Override
          public void take() {}

          @Override
          public void release() {}
        };

    void take();

    void release();
  }

  private final Path directory;
  private final Path path;
  private final long bytes;
  private final boolean fromDisk;
  private final Hold hold;
  private final AtomicBoolean closed = new AtomicBoolean();

  /** Becomes the owner of one count of the hold. */
  Pulled(Path directory, Path path, long bytes, boolean fromDisk, Hold hold) {
    this.directory = directory;
    this.path = path;
    this.bytes = bytes;
    this.fromDisk = fromDisk;
    this.hold = hold;
  }

  /**
   * The directory that holds the model's files. A model that is one object or one copied file is
   * alone in it; a single {@code file:} or {@code pvc:} file is used where it lies, so its
   * directory may hold other things too: then {@link #path} is what was asked for.
   */
  public Path directory() {
    return directory;
  }

  /** The model itself: the file where the location is one file or object, else the directory. */
  public Path path() {
    return path;
  }

  /** Size of the model's files together. */
  public long bytes() {
    return bytes;
  }

  /** Whether no content had to be fetched for this pull. */
  public boolean fromDisk() {
    return fromDisk;
  }

  Hold hold() {
    return hold;
  }

  /** One more claim on the same files, for another owner; this one must be open. */
  Pulled again() {
    hold.take();
    return new Pulled(directory, path, bytes, fromDisk, hold);
  }

  /** Gives the claim up; the cache may purge the files from now on. */
  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      hold.release();
    }
  }
}
