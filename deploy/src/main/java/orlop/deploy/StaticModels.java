package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import mmesh.ModelInfo;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import mmesh.SetVModelRequest;
import mmesh.VModelStatusInfo;
import org.jspecify.annotations.Nullable;

/** The models that a pod registers when it starts, in ModelMesh's JSON. */
final class StaticModels {
  private static final JsonMapper MAPPER =
      JsonMapper.builder().enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES).build();

  /** As in the management interface; what is left out is empty. */
  record Info(@Nullable String type, @Nullable String path, @Nullable String key) {}

  /**
   * @param vModelId the alias to create or to move to the model; null for none
   * @param retainAfterTransition whether the model stays registered when that alias has left it
   * @param ensureLoaded whether the pod starts only if the model can be loaded
   */
  record StaticModel(
      @Nullable String modelId,
      @Nullable Info modelInfo,
      @Nullable String vModelId,
      boolean retainAfterTransition,
      boolean ensureLoaded) {}

  private StaticModels() {}

  /**
   * @param text JSON, or empty
   * @param file a file of it, or empty; its models come first
   */
  static List<StaticModel> read(String text, String file) {
    List<StaticModel> all = new ArrayList<>();
    try {
      if (!file.isEmpty()) {
        all.addAll(parse(file, Files.readString(Path.of(file))));
      }
    } catch (IOException e) {
      throw new CommandException(file + " cannot be read: " + e, "check the path", e);
    }
    all.addAll(parse("registration.models", text));
    return all;
  }

  private static List<StaticModel> parse(String from, String json) {
    if (json.isBlank()) {
      return List.of();
    }
    try {
      List<StaticModel> models = MAPPER.readValue(json, new TypeReference<List<StaticModel>>() {});
      for (StaticModel model : models) {
        if (model == null || model.modelId == null || model.modelInfo == null) {
          throw new CommandException(
              from + ": " + model + " has no modelId or no modelInfo", "give both");
        }
      }
      return models;
    } catch (JsonProcessingException e) {
      throw new CommandException(
          from + " is no list of models: " + ErrorLine.flat(e.getOriginalMessage()),
          "expected [{\"modelId\": \"m\", \"modelInfo\": {\"type\": \"onnx\", \"path\": \"p\"}}]",
          e);
    }
  }

  /** Registers them in order, by the pod's own management interface. */
  static void register(List<StaticModel> models, MeshClient pod) {
    for (StaticModel model : models) {
      try {
        // Pods that start together move the same alias; one of them is told to try again.
        var unused =
            ModelMeshImport.calm(
                () -> {
                  register(model, pod);
                  return model;
                });
      } catch (StatusRuntimeException e) {
        throw new CommandException(
            "model '%s' cannot be registered at the start: %s"
                .formatted(model.modelId, ErrorLine.flat(e.getStatus().getDescription())),
            "correct registration.models or MM_AUTO_REGISTER_MODELS",
            e);
      }
    }
  }

  private static void register(StaticModel model, MeshClient pod) {
    ModelInfo info = info(model.modelInfo);
    String id = text(model.modelId);
    String alias = text(model.vModelId);
    ModelStatusInfo status =
        pod.management()
            .registerModel(
                RegisterModelRequest.newBuilder()
                    .setModelId(id)
                    .setModelInfo(info)
                    .setLoadNow(model.ensureLoaded)
                    .setSync(model.ensureLoaded)
                    .build());
    if (!alias.isEmpty()) {
      VModelStatusInfo unused =
          pod.management()
              .setVModel(
                  SetVModelRequest.newBuilder()
                      .setVModelId(alias)
                      .setTargetModelId(id)
                      .setModelInfo(info)
                      .setAutoDeleteTargetModel(!model.retainAfterTransition)
                      .build());
    }
    if (model.ensureLoaded && status.getStatus() != ModelStatusInfo.ModelStatus.LOADED) {
      throw new CommandException(
          "model '%s' must be loaded before this pod serves and is %s: %s"
              .formatted(id, status.getStatus(), String.join("; ", status.getErrorsList())),
          "correct its registration, or set ensureLoaded to false");
    }
  }

  private static ModelInfo info(@Nullable Info info) {
    return info == null
        ? ModelInfo.getDefaultInstance()
        : ModelInfo.newBuilder()
            .setType(text(info.type))
            .setPath(text(info.path))
            .setKey(text(info.key))
            .build();
  }

  private static String text(@Nullable String value) {
    return value == null ? "" : value;
  }
}
