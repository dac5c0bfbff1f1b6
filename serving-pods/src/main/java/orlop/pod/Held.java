package orlop.pod;

import java.lang.System.Logger.Level;
import org.jspecify.annotations.Nullable;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.runtime.LoadedModel;
import orlop.runtime.SidecarModel;

/**
 * What a slot holds: a model in memory and the files it came from.
 *
 * @param loadMs how long pull and load took
 * @param pullMs the part of it until the files were there
 * @param stats what the model did here, also before it was last loaded
 * @param turns where its runtime limits how many calls it runs at a time; null where it does not
 * @param lane where its calls wait for a compute thread
 */
record Held(
    Model model,
    LoadedModel loaded,
    ModelStore.Files files,
    long loadMs,
    long pullMs,
    ModelStats stats,
    @Nullable Turns turns,
    Lane lane)
    implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Held.class.getName());

  Held(
      Model model,
      LoadedModel loaded,
      ModelStore.Files files,
      long loadMs,
      long pullMs,
      ModelStats stats,
      Lane lane) {
    this(model, loaded, files, loadMs, pullMs, stats, turns(loaded), lane);
  }

  private static @Nullable Turns turns(LoadedModel loaded) {
    return loaded instanceof SidecarModel beside && beside.maxConcurrency() > 0
        ? new Turns(beside.maxConcurrency(), beside.maxInFlight())
        : null;
  }

  /**
   * What the cache counts for it. What fits by prediction and not by measurement counts as all
   * there is: it is served, alone, and not refused for good or loaded again and again.
   *
   * @param room of the pod
   */
  long countedBytes(Memory room) {
    long most = room.vramBytes() > 0 ? room.vramBytes() : room.ramBytes();
    long bytes = Math.max(1, loaded.sizeBytes());
    return Math.min(bytes, Math.max(most, loaded.predictedSizeBytes()));
  }

  /** Frees the memory, then lets the files go. */
  @Override
  public void close() {
    try {
      loaded.close();
    } finally {
      try {
        files.close();
      } catch (RuntimeException e) {
        // The memory is free, which is what unloading is about; the disk cache heals itself.
        LOG.log(Level.WARNING, "files of model ''{0}'' stay on disk: {1}", model.id(), e);
      }
    }
  }
}
