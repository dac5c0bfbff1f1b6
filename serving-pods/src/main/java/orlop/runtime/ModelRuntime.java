package orlop.runtime;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * Loads models of some formats into this process. Thread-safe: several models may be loaded at the
 * same time, and a load may run beside inferences on models that are loaded.
 */
public interface ModelRuntime extends AutoCloseable {

  /** The name by which logs and status pages speak of this runtime, such as {@code onnxruntime}. */
  String name();

  /** Whether this runtime loads models of that type, with or without a version: {@code onnx:1}. */
  boolean supports(String modelType);

  /**
   * What {@link LoadedModel#sizeBytes} will be for that model unless it is measured then, known
   * before it is loaded, so that room can be made first. Reads the structure of the file and skips
   * its weights.
   *
   * @param modelPath as for {@link #load}
   * @throws IOException when the file cannot be found or read, or is not of the format
   */
  long predictSizeBytes(Path modelPath) throws IOException;

  /**
   * A guess at {@link #predictSizeBytes} before the files are here: the store tells their length
   * and no more. Rather too much than too little.
   */
  default long guessSizeBytes(long fileBytes) {
    return fileBytes;
  }

  /**
   * Loads one model; blocks for as long as that takes.
   *
   * @param modelId the name under which errors and metadata speak of the model
   * @param modelPath the model file, or a directory that holds exactly one
   */
  LoadedModel load(String modelId, String modelType, Path modelPath) throws ModelLoadException;

  /**
   * The same, where more is known of the model, and the runtime may keep something beside its
   * files.
   *
   * @param key as the model was registered; may be empty
   * @param beside asked and told during the load alone
   */
  default LoadedModel load(
      String modelId, String modelType, Path modelPath, String key, Beside beside)
      throws ModelLoadException {
    return load(modelId, modelType, modelPath);
  }

  /** A model to try it with; none when it is not this process that loads its models. */
  default Optional<Sample> sample() {
    return Optional.empty();
  }

  /** Frees what the runtime itself holds. Its models must have been closed before. */
  @Override
  void close();
}
