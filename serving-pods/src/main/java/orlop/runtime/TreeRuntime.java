package orlop.runtime;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import orlop.runtime.ModelLoadException.Reason;

/**
 * Runs models of XGBoost (type {@code xgboost}: JSON or UBJSON) and of LightGBM (type {@code
 * lightgbm}: text) without either library. Holds nothing but its models, which live on the heap.
 */
public final class TreeRuntime implements ModelRuntime {

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

  @Override
  public LoadedModel load(String modelId, String modelType, Path modelPath)
      throws ModelLoadException {
    String where = "model '" + modelId + "': ";
    TreeFormat format = TreeFormat.ofType(modelType);
    if (format == null) {
      throw new ModelLoadException(
          Reason.BAD_MODEL,
          where + "type '" + modelType + "' is not for " + name() + ", expected xgboost or lightgbm",
          null);
    }
    try {
      Ensemble ensemble = format.read(format.locate(modelPath), false);
      return new EnsembleModel(modelId, format.name().toLowerCase(Locale.ROOT), ensemble);
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

  @Override
  public void close() {
    // Models are closed by whoever loaded them; there is nothing besides.
  }
}
