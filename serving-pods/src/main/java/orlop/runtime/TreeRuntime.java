package orlop.runtime;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import orlop.runtime.ModelLoadException.Reason;

/**
 * Runs models of XGBoost (type {@code xgboost}: JSON or UBJSON) and of LightGBM (type {@code
 * lightgbm}: text) without either library. Its models live on the Java heap and may take half of
 * it; a load beyond that is refused as {@link Reason#OUT_OF_MEMORY}, so that calls keep theirs.
 */
public final class TreeRuntime implements ModelRuntime {
  private static final long SMALL_MODEL_BYTES = 12_000;

  private static final int SAMPLE_FEATURES = 4;

  /** One tree of one split. */
  private static final String SAMPLE =
      """
      {"learner": {
        "learner_model_param": {"base_score": "0.5", "num_class": "0", "num_feature": "4"},
        "objective": {"name": "reg:squarederror"},
        "gradient_booster": {"name": "gbtree", "model": {"tree_info": [0], "trees": [{
          "left_children": [1, -1, -1], "right_children": [2, -1, -1],
          "split_indices": [0, 0, 0], "split_conditions": [0.5, -1.0, 1.0],
          "default_left": [1, 0, 0]}]}}}}
      """;

  private final long limitBytes;
  private final AtomicLong heldBytes = new AtomicLong();

  public TreeRuntime() {
    this(Runtime.getRuntime().maxMemory() / 2);
  }

  /**
   * @param limitBytes what all models together may take
   */
  TreeRuntime(long limitBytes) {
    this.limitBytes = limitBytes;
  }

  @Override
  public String name() {
    return "trees";
  }

  @Override
  public boolean supports(String modelType) {
    return TreeFormat.ofType(modelType) != null;
  }

  /** Reads the whole file, but keeps one tree of it at a time. */
  @Override
  public long predictSizeBytes(Path modelPath) throws IOException {
    TreeFormat format = TreeFormat.ofFiles(modelPath);
    return EnsembleModel.residentBytes(format.read(format.locate(modelPath), true));
  }

  /** A third of UBJSON or LightGBM's text, a fifth of JSON, and what little models have besides. */
  @Override
  public long guessSizeBytes(long fileBytes) {
    return SMALL_MODEL_BYTES + fileBytes / 2;
  }

  @Override
  public LoadedModel load(String modelId, String modelType, Path modelPath)
      throws ModelLoadException {
    String where = "model '" + modelId + "': ";
    TreeFormat format = TreeFormat.ofType(modelType);
    if (format == null) {
      throw new ModelLoadException(
          Reason.BAD_MODEL,
          where
              + "type '"
              + modelType
              + "' is not for "
              + name()
              + ", expected xgboost or lightgbm",
          null);
    }
    try {
      Ensemble ensemble = format.read(format.locate(modelPath), false);
      hold(where, EnsembleModel.residentBytes(ensemble));
      String platform = format.name().toLowerCase(Locale.ROOT);
      return new EnsembleModel(modelId, platform, ensemble, heldBytes::addAndGet);
    } catch (NoSuchFileException e) {
      String text = where + modelPath + ": " + OnnxFile.explain(e);
      throw new ModelLoadException(Reason.NOT_FOUND, text, e);
    } catch (MalformedModelException e) {
      throw new ModelLoadException(Reason.BAD_MODEL, where + e.getMessage(), e);
    } catch (JsonProcessingException e) {
      String text = where + modelPath + ": " + e.getOriginalMessage();
      throw new ModelLoadException(Reason.BAD_MODEL, text, e);
    } catch (IOException e) {
      String text = where + modelPath + " cannot be read: " + e.getMessage();
      throw new ModelLoadException(Reason.INTERNAL, text, e);
    } catch (OutOfMemoryError e) {
      String text = where + "no heap for " + modelPath + ": " + e.getMessage();
      throw new ModelLoadException(Reason.OUT_OF_MEMORY, text, e);
    }
  }

  private void hold(String where, long bytes) throws ModelLoadException {
    long held = heldBytes.addAndGet(bytes);
    if (held > limitBytes) {
      heldBytes.addAndGet(-bytes);
      throw new ModelLoadException(
          Reason.OUT_OF_MEMORY,
          where
              + bytes
              + " bytes beside "
              + (held - bytes)
              + " of other tree models, expected at most "
              + limitBytes
              + " in all, half of the Java heap (ORLOP_JAVA_OPTS=-Xmx)",
          null);
    }
  }

  @Override
  public Optional<Sample> sample() {
    return Optional.of(
        Sample.ofRow(
            "xgboost", ByteString.copyFromUtf8(SAMPLE), EnsembleModel.INPUT, SAMPLE_FEATURES));
  }

  @Override
  public void close() {
    // Models are closed by whoever loaded them; there is nothing besides.
  }
}
