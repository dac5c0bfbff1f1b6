package orlop.drift;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.URLEncoder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Baselines given as files, one per model: {@code {"features":[{"tensor":"x","index":0,
 * "values":[1.5,"NaN",...]},...]}}. A feature that its file leaves out is learned; so is every
 * feature of a model whose file cannot be read, with one line that says why.
 */
final class BaselineFiles {
  private static final System.Logger LOG = System.getLogger(BaselineFiles.class.getName());
  private static final ObjectMapper JSON = new ObjectMapper();

  private final @Nullable Path directory;

  BaselineFiles(@Nullable Path directory) {
    this.directory = directory;
  }

  /** The given baselines of a model; empty when there is none. */
  Map<FeatureKey, Baseline> read(String model) {
    if (directory == null) {
      return Map.of();
    }
    Path file = directory.resolve(URLEncoder.encode(model, UTF_8) + ".json");
    if (!Files.isRegularFile(file)) {
      return Map.of();
    }
    try {
      return parse(JSON.readTree(file.toFile()));
    } catch (IOException | IllegalArgumentException e) {
      LOG.log(
          Level.WARNING,
          "baseline file {0} is not used, the model {1} is learned instead: {2}",
          file,
          model,
          e.getMessage());
      return Map.of();
    }
  }

  private static Map<FeatureKey, Baseline> parse(JsonNode root) {
    Map<FeatureKey, Baseline> baselines = new HashMap<>();
    for (JsonNode feature : root.path("features")) {
      FeatureKey key =
          new FeatureKey(feature.path("tensor").asText(), feature.path("index").asInt());
      JsonNode values = feature.path("values");
      if (values.size() < Baseline.LEAST_ROWS) {
        throw new IllegalArgumentException(
            key + " has " + values.size() + " values, expected at least " + Baseline.LEAST_ROWS);
      }
      long[] keys = new long[values.size()];
      long seed = Hash.seed(key.toString(), 0, 0);
      for (int i = 0; i < keys.length; i++) {
        keys[i] = RankKey.of(number(key, values.get(i)), Hash.tie(seed, i));
      }
      baselines.put(key, Baseline.of(keys, keys.length));
    }
    return baselines;
  }

  private static float number(FeatureKey key, JsonNode value) {
    if (value.isNull()) {
      return Float.NaN;
    }
    try {
      return Float.parseFloat(value.asText());
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          key + " has the value " + value + ", expected a number, \"NaN\" or null", e);
    }
  }
}
