"""Networks in files: a program of torch.export (.pt2) or a graph of ONNX (.onnx), which give logits and nothing else.

Such a network can teach. It cannot be trained, drawn anew, listened to or cut, so it is no student.
"""
