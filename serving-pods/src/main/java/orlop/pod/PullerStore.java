package orlop.pod;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import orlop.placement.Fault;
import orlop.placement.Model;
import orlop.puller.ModelLocation;
import orlop.puller.ModelPuller;
import orlop.puller.PullException;
import orlop.puller.PullStats;
import orlop.puller.Pulled;
import orlop.runtime.Beside;

/** The store behind a {@link ModelPuller}. Thread-safe. */
final class PullerStore implements ModelStore {
  private final ModelPuller puller;

  PullerStore(ModelPuller puller) {
    this.puller = puller;
  }

  @Override
  public Files pull(Model model) throws StoreException, InterruptedException {
    try {
      return new PulledFiles(puller, puller.pull(ModelLocation.parse(model.path(), model.key())));
    } catch (PullException e) {
      throw refused(e);
    }
  }

  @Override
  public long sizeBytes(Model model) throws StoreException {
    try {
      return puller.sizeBytes(ModelLocation.parse(model.path(), model.key()));
    } catch (PullException e) {
      throw refused(e);
    }
  }

  @Override
  public Map<String, Long> counts() {
    PullStats stats = puller.stats();
    Map<String, Long> counts = new LinkedHashMap<>();
    counts.put("hits", stats.hits());
    counts.put("misses", stats.misses());
    counts.put("joined", stats.joined());
    counts.put("stale", stats.stale());
    counts.put("retries", stats.retries());
    counts.put("failures", stats.failures());
    counts.put("bytes", stats.bytesPulled());
    counts.put("purged", stats.purged());
    return counts;
  }

  private static StoreException refused(PullException e) {
    Fault fault =
        switch (e.kind()) {
          case NOT_FOUND -> Fault.PERMANENT;
          // Where a model lies is said by its path and by the storage that its key names.
          case BAD_LOCATION, FORBIDDEN -> Fault.CONFIGURATION;
          case NO_SPACE -> Fault.CAPACITY;
          case TRANSIENT, CORRUPT -> Fault.TRANSIENT;
        };
    return new StoreException(fault, String.valueOf(e.getMessage()), e);
  }

  private record PulledFiles(ModelPuller puller, Pulled pulled) implements Files, Beside {
    private record File(Pulled pulled) implements Made {
      @Override
      public Path path() {
        return pulled.path();
      }

      @Override
      public void close() {
        pulled.close();
      }
    }

    @Override
    public Beside beside() {
      return this;
    }

    @Override
    public @Nullable Made find(String name) {
      Pulled made = puller.made(pulled, name);
      return made == null ? null : new File(made);
    }

    @Override
    public void keep(String name, long mostBytes, Maker maker) {
      puller.keep(pulled, name, mostBytes, maker::make);
    }

    @Override
    public Path path() {
      return pulled.path();
    }

    @Override
    public boolean fromDisk() {
      return pulled.fromDisk();
    }

    @Override
    public void close() {
      pulled.close();
    }
  }
}
