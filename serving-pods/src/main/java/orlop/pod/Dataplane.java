package orlop.pod;

import io.grpc.Status;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Which methods may be called for a model, and where their messages name it. Immutable.
 *
 * @param rpcs by full method name, such as {@code package.Service/Method}
 * @param allowOtherRpcs whether methods that are not listed may be called too; headers name their
 *     model
 */
public record Dataplane(Map<String, Rpc> rpcs, boolean allowOtherRpcs) {
  /** Every method, with the model named by headers. */
  public static final Dataplane ANY = new Dataplane(Map.of(), true);

  /** How a call of a method that is not allowed ends. */
  static final Status UNLISTED =
      Status.UNIMPLEMENTED.withDescription("pod.dataplane does not let this method be called");

  private static final int MAX_DEPTH = 16;
  private static final int MAX_FIELD = (1 << 29) - 1;

  /**
   * One method.
   *
   * @param idExtractionPath field numbers from the message down to the text that names the model,
   *     at most 16; empty or left out: only headers do
   * @param vModelId whether what stands there is an alias rather than a model's id, should there be
   *     both of that name
   */
  public record Rpc(@Nullable List<Integer> idExtractionPath, boolean vModelId) {
    public Rpc {
      idExtractionPath = idExtractionPath == null ? List.of() : List.copyOf(idExtractionPath);
      if (idExtractionPath.size() > MAX_DEPTH
          || idExtractionPath.stream().anyMatch(number -> number < 1 || number > MAX_FIELD)) {
        throw new IllegalArgumentException(
            "idExtractionPath is %s, allowed are at most %d field numbers of 1 to %d"
                .formatted(idExtractionPath, MAX_DEPTH, MAX_FIELD));
      }
    }

    int[] path() {
      List<Integer> numbers = idExtractionPath == null ? List.of() : idExtractionPath;
      return numbers.stream().mapToInt(Integer::intValue).toArray();
    }
  }

  public Dataplane {
    rpcs = Map.copyOf(rpcs);
    for (String method : rpcs.keySet()) {
      if (!method.matches("[\\w.]+/\\w+")) {
        throw new IllegalArgumentException(
            "dataplane rpcs holds '" + method + "', expected package.Service/Method");
      }
    }
  }

  boolean allows(String method) {
    return allowOtherRpcs || rpcs.containsKey(method);
  }
}
