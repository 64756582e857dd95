"""Exporters of the core: ONNX, OpenVINO, torch.export and safetensors."""
