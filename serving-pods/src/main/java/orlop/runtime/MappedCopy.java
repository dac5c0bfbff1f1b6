package orlop.runtime;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.OrtSession.SessionOptions;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * A model as the engine has optimised it, in its own format, mapped instead of read: the weights
 * are the file's pages. One per session; closed after it.
 *
 * <p>Loads in under a millisecond whatever its size. Its weights are not packed for large batches,
 * since packing would copy them (DESIGN.md has the figures).
 */
final class MappedCopy implements AutoCloseable {
  /** Below this a model loads as fast from its own file. */
  private static final long LEAST_BYTES = 1 << 20;

  /** One buffer of the Java API, less what the format adds. */
  private static final long MOST_BYTES = 1L << 30;

  private final Beside.Made file;
  private final Arena arena;

  private MappedCopy(Beside.Made file, Arena arena) {
    this.file = file;
    this.arena = arena;
  }

  static boolean suits(OnnxFile file) {
    return file.externalWeightBytes() == 0
        && file.fileBytes() >= LEAST_BYTES
        && file.fileBytes() <= MOST_BYTES;
  }

  /** At most so much longer than the model's own file. */
  static long mostBytes(OnnxFile file) {
    return 2 * file.fileBytes();
  }

  /**
   * Its name: another engine, machine or choice of options makes another copy, for the engine lays
   * weights out as suits the processor.
   */
  static String name(OrtEnvironment environment) {
    CRC32C machine = new CRC32C();
    machine.update(System.getProperty("os.arch", "").getBytes(StandardCharsets.UTF_8));
    try {
      Files.readAllLines(Path.of("/proc/cpuinfo")).stream()
          .filter(line -> line.startsWith("flags") || line.startsWith("Features"))
          .findFirst()
          .ifPresent(line -> machine.update(line.getBytes(StandardCharsets.UTF_8)));
    } catch (IOException e) {
      // Other systems keep one copy per architecture.
      machine.update(0);
    }
    return "onnxruntime-%s-%08x-1.ort".formatted(environment.getVersion(), machine.getValue());
  }

  /** Writes the copy; costs as much as a load. */
  static void make(OrtEnvironment environment, SessionOptions options, Path model, Path copy)
      throws OrtException {
    options.setOptimizedModelFilePath(copy.toString());
    options.addConfigEntry("session.save_model_format", "ORT");
    environment.createSession(model.toString(), options).close();
  }

  /** A session over a mapped copy. */
  record Opened(OrtSession session, MappedCopy copy) {}

  /**
   * Opens a copy, which is the callee's from now on.
   *
   * @return null when the engine does not take it
   */
  static @Nullable Opened open(
      OrtEnvironment environment, SessionOptions options, Beside.Made file) {
    MappedCopy copy = new MappedCopy(file, Arena.ofShared());
    Opened opened = null;
    try (FileChannel channel = FileChannel.open(file.path())) {
      options.addConfigEntry("session.load_model_format", "ORT");
      options.addConfigEntry("session.use_ort_model_bytes_directly", "1");
      options.addConfigEntry("session.use_ort_model_bytes_for_initializers", "1");
      options.addConfigEntry("session.disable_prepacking", "1");
      ByteBuffer bytes =
          channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), copy.arena).asByteBuffer();
      opened = new Opened(environment.createSession(bytes, options), copy);
    } catch (IOException | OrtException | UnsupportedOperationException e) {
      return null;
    } finally {
      if (opened == null) {
        copy.close();
      }
    }
    return opened;
  }

  /** Unmaps it; its session must be closed. */
  @Override
  public void close() {
    arena.close();
    file.close();
  }
}
