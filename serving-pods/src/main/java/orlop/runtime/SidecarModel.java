package orlop.runtime;

/**
 * A model that another process beside this one runs. Calls go there as they are, whatever their
 * method; {@link #infer} is for callers that have no connection of their own.
 */
public interface SidecarModel extends LoadedModel {

  /** {@code host:port} at which the runtime takes gRPC calls. */
  String address();
}
