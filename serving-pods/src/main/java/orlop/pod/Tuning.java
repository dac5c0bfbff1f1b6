package orlop.pod;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import orlop.placement.Model;

/**
 * How one model is to be run: what the pod's configuration says, and over it the member {@code
 * orlop} of the model's key, such as {@code {"orlop": {"instances": 1, "batchRows": 0}}}. Values of
 * the key that are out of range are left out; registration refuses them.
 *
 * @param instances runs of it at one time, 1 to 1,024
 * @param batchRows rows in one run of several requests; below 2 they never run together
 * @param batchLatencyMs no run of several requests shall take longer
 * @param warmUp runs on zeros before it counts as loaded, 0 to 1,000
 */
record Tuning(int instances, int batchRows, int batchLatencyMs, int warmUp) {
  private static final String MEMBER = "orlop";

  static Tuning of(Model model, PodConfig config) {
    Batching batch = config.batch();
    int rows = batch.enabled() ? batch.mostRows() : 0;
    Tuning plain = new Tuning(config.computeThreads(), rows, batch.latencyMs(), 0);
    if (!model.key().contains('"' + MEMBER + '"')) {
      return plain;
    }
    try {
      return plain.with(RestJson.MAPPER.readTree(model.key()).path(MEMBER));
    } catch (JsonProcessingException e) {
      // The key is the storage's affair then.
      return plain;
    }
  }

  private Tuning with(JsonNode said) {
    return new Tuning(
        in(said, "instances", 1, 1_024, instances),
        in(said, "batchRows", 0, 4_096, batchRows),
        in(said, "batchLatencyMs", 1, 10_000, batchLatencyMs),
        in(said, "warmUp", 0, 1_000, warmUp));
  }

  private static int in(JsonNode said, String name, int least, int most, int otherwise) {
    int value = said.path(name).asInt(otherwise);
    return value < least || value > most ? otherwise : value;
  }
}
