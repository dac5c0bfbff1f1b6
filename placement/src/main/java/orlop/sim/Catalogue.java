package orlop.sim;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import orlop.placement.Memory;
import orlop.placement.Model;

/** What the models really are, behind what their registrations say. Sizes are log-normal. */
final class Catalogue {
  static final long POD_BYTES = 16L << 30;

  /** Registered bytes per byte of the mesh. */
  private static final double CROWDING = 2;

  private static final double SIGMA = 0.8;
  private static final double FETCHED_PER_SECOND = 700e6;

  /** How a model behaves. */
  enum Nature {
    SOUND,
    /** Never loads, anywhere. */
    BROKEN,
    /** Comes out larger than any pod. */
    GIANT
  }

  /**
   * @param sizeBytes that it really takes
   * @param bytesPerSecond at which its format is read into memory
   * @param fetched whether it must be fetched from the storage first
   */
  record Truth(long sizeBytes, Nature nature, double bytesPerSecond, boolean fetched) {
    /** How long its load takes where nothing is wrong: by size and format. */
    double loadSeconds() {
      double size = Math.min(sizeBytes, POD_BYTES / 2.0);
      return 0.15 + size / bytesPerSecond + (fetched ? size / FETCHED_PER_SECOND : 0);
    }
  }

  private final Map<String, Truth> truths = new HashMap<>();
  private final double medianBytes;

  Catalogue(Options options) {
    double meanBytes = CROWDING * options.pods() * POD_BYTES / options.models();
    medianBytes = Math.min(meanBytes, POD_BYTES / 8.0) / Math.exp(SIGMA * SIGMA / 2);
  }

  /** A new model; one in fifty is broken or a giant when {@code sound} is false. */
  Model create(String id, boolean sound, long nowMs, SplittableRandom random) {
    long size = (long) (medianBytes * Math.exp(SIGMA * random.nextGaussian()));
    size = Math.clamp(size, 1, POD_BYTES / 2);
    int draw = sound ? 99 : random.nextInt(100);
    Nature nature = draw == 0 ? Nature.BROKEN : draw == 1 ? Nature.GIANT : Nature.SOUND;
    if (nature == Nature.GIANT) {
      size = POD_BYTES * 2;
    }
    int format = random.nextInt(10);
    double bytesPerSecond = format < 6 ? 1_500e6 : format < 9 ? 600e6 : 300e6;
    truths.put(id, new Truth(size, nature, bytesPerSecond, random.nextInt(10) < 3));
    Set<String> required = random.nextInt(20) == 0 ? Set.of("rt:special") : Set.of();
    Set<String> preferred = random.nextInt(10) == 0 ? Set.of("disk:fast") : Set.of();
    int minCopies = sound && random.nextInt(100) == 0 ? 1 : 0;
    return new Model(
        id,
        "onnx",
        "s3://models/" + id,
        "",
        hint(size, random),
        minCopies,
        random.nextInt(50) == 0 ? 1 : 0,
        required,
        preferred,
        nowMs);
  }

  /** Mostly near the truth, sometimes a lie, sometimes nothing. */
  private static long hint(long sizeBytes, SplittableRandom random) {
    int draw = random.nextInt(10);
    if (draw == 0) {
      return 0;
    }
    double factor = draw == 1 ? 0.2 + 2.8 * random.nextDouble() : 0.95 + 0.1 * random.nextDouble();
    return (long) Math.min(sizeBytes * factor, POD_BYTES / 2.0);
  }

  @Nullable Truth truth(String modelId) {
    return truths.get(modelId);
  }

  /** In a pod with an accelerator it takes a tenth of its size in RAM besides. */
  static Memory memory(Truth truth, boolean accelerated) {
    return accelerated
        ? new Memory(truth.sizeBytes() / 10, truth.sizeBytes())
        : Memory.ram(truth.sizeBytes());
  }

  /** Whether it can be served when nothing is wrong. */
  boolean servable(String modelId) {
    Truth truth = truths.get(modelId);
    return truth != null && truth.nature() == Nature.SOUND;
  }
}
