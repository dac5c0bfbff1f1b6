package orlop.pod;

import java.nio.file.Path;
import java.util.Map;
import orlop.placement.Fault;
import orlop.placement.Model;
import orlop.puller.ModelPuller;
import orlop.runtime.Beside;

/** Where a pod gets the files of a model. Thread-safe; every call may block. */
public interface ModelStore {

  /** Brings the files to the local disk and holds them there until they are closed. */
  Files pull(Model model) throws StoreException, InterruptedException;

  /** The size of the files, without bringing them. */
  long sizeBytes(Model model) throws StoreException, InterruptedException;

  /** Growing counts for metrics, by name; the names never change. */
  default Map<String, Long> counts() {
    return Map.of();
  }

  /** The store that a puller brings models from; the puller stays its caller's to close. */
  static ModelStore of(ModelPuller puller) {
    return new PullerStore(puller);
  }

  /** Files of one model on the local disk. */
  interface Files extends AutoCloseable {
    Path path();

    /** Whether they lay on the local disk already when they were asked for. */
    default boolean fromDisk() {
      return false;
    }

    /** Where a runtime may keep what it makes of them. */
    default Beside beside() {
      return Beside.NOWHERE;
    }

    /** Lets the disk cache purge them. Idempotent. */
    @Override
    void close();
  }

  /** The files cannot be had; the message names what and where. */
  final class StoreException extends Exception {
    private static final long serialVersionUID = 1L;
    private final Fault fault;

    public StoreException(Fault fault, String message, Throwable cause) {
      super(message, cause);
      this.fault = fault;
    }

    public Fault fault() {
      return fault;
    }
  }
}
