package orlop.runtime;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import mmesh.RuntimeStatusResponse;
import org.jspecify.annotations.Nullable;

/**
 * What a runtime beside the pod lets be called: the methods that it named, or any. Immutable.
 *
 * @param idPaths full name of a method, such as {@code package.Service/Method}, to the field
 *     numbers that lead to the string that is to carry the model's id; empty where none is
 * @param any whether other methods may be called too
 */
public record SidecarMethods(Map<String, List<Integer>> idPaths, boolean any) {
  /** Any method, as the runtime's own affair. */
  public static final SidecarMethods ANY = new SidecarMethods(Map.of(), true);

  public SidecarMethods {
    idPaths = Map.copyOf(idPaths);
  }

  /** What the runtime says; one that names no method takes all. */
  static SidecarMethods of(RuntimeStatusResponse status) {
    Map<String, List<Integer>> paths = new HashMap<>();
    status
        .getMethodInfosMap()
        .forEach((method, info) -> paths.put(method, List.copyOf(info.getIdInjectionPathList())));
    return new SidecarMethods(paths, paths.isEmpty() || status.getAllowAnyMethod());
  }

  /** Whether the runtime takes calls of that method. */
  public boolean allows(String method) {
    return any || idPaths.containsKey(method);
  }

  /** Where the id goes in messages of that method; null when the runtime does not say. */
  public @Nullable List<Integer> idPath(String method) {
    return idPaths.get(method);
  }
}
